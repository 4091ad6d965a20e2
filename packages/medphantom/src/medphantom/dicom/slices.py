"""The files of a series, whose headers are alike: what all share is encoded once, what differs once a file."""

from collections.abc import Collection
from io import BytesIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.filebase import DicomBytesIO, DicomIO
from pydicom.filewriter import write_dataset, write_file_meta_info


class SliceEncoder:
    """Encodes files that differ in a few attributes.

    Args:
        template: a complete file, of which the attributes that differ hold any value.
        varying: keywords of what differs; `SOPInstanceUID` is among them.
    """

    def __init__(self, template: FileDataset, varying: Collection[str]) -> None:
        self._meta = template.file_meta
        self._preamble = template.preamble or b"\0" * 128
        self._charset = template.SpecificCharacterSet
        tags = {tag_for_keyword(keyword) for keyword in varying}
        # Parts in the order of tags: bytes of what all files share, or the keyword of what differs.
        self._parts: list[bytes | str] = []
        run = Dataset()
        for element in template:
            if element.tag not in tags:
                run.add(element)
                continue
            self._parts += [self._encode(run), element.keyword]
            run = Dataset()
        self._parts.append(self._encode(run))

    def encode(self, values: Dataset) -> bytes:
        """Encode one file: the very bytes that pydicom writes for the template with these attributes.

        Args:
            values: all varying attributes.
        """
        self._meta.MediaStorageSOPInstanceUID = values.SOPInstanceUID
        meta = BytesIO()
        write_file_meta_info(DicomIO(meta), self._meta, enforce_standard=True)
        out = [self._preamble, b"DICM", meta.getvalue()]
        for part in self._parts:
            if isinstance(part, bytes):
                out.append(part)
                continue
            one = Dataset()
            one.add(values[part])
            out.append(self._encode(one))
        return b"".join(out)

    def _encode(self, ds: Dataset) -> bytes:
        out = DicomBytesIO()
        out.is_little_endian, out.is_implicit_VR = True, False
        write_dataset(out, ds, self._charset)
        return bytes(out.getvalue())
