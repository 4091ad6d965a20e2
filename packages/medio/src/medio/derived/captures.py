"""Pictures of a result: secondary captures, and notes that point to key images.

Source: DICOM PS3.3 A.8.1 (Secondary Capture), C.7.6.1 (General Image, derivation), A.35.4 (Key Object Selection), PS3.16 TID 2010.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from medio.atomic import replacing
from medio.derived.codes import Code, check_code, concept
from medio.derived.source import Equipment, Files, Source, UidMaker, maker, making, new_uid, open_source, parsing, patient_and_study
from medio.errors import GeometryError, UnsupportedError

OF_INTEREST: Code = ("113000", "DCM", "Of Interest")
"""Title of a key image note, from PS3.16 CID 7010."""
_PURPOSE: Code = ("121322", "DCM", "Source image for image processing operation")


def write_capture(
    array: npt.NDArray[Any],
    source: Files,
    path: Path | str,
    *,
    description: str,
    burned_in: bool = True,
    instance_number: int = 1,
    series_description: str = "Result",
    series_number: int = 903,
    equipment: Equipment | None = None,
    uid: UidMaker = new_uid,
) -> Path:
    """Write a picture, e.g. an overlay of a result, as a DICOM secondary capture that names the images it was made from.

    The file is read back before it takes its name, and must give the same pixels.

    Args:
        array: (H, W) uint8 or uint16, or (H, W, 3) uint8 RGB.
        source: the DICOM files that the picture was made from (or their folder), of one study.
        path: where to write.
        description: what it shows and how it was made; it becomes the derivation description.
        burned_in: whether text or drawings are part of the pixels. YES unless you know better: a receiver that de-identifies must look.
        instance_number: of the picture in its series.
        series_description: of the series.
        series_number: of the series.
        equipment: who makes it; medio by default.
        uid: gives the new UIDs (roles `series`, `instance`). For several pictures in one series, make `series` the same for all.

    Returns:
        `path`.

    Raises:
        UnsupportedError: an array of another shape or type, no description, images of several studies, or what highdicom refuses.
        GeometryError: the written file does not hold the pixels.
        CorruptFileError: a source that lacks an identifier.
    """
    import highdicom  # here, not above: it takes a second to import, which readers need not wait for

    path = Path(path)
    grey = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    if not grey and not (array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8):
        raise UnsupportedError(
            path, f"a capture is (H, W) uint8 or uint16, or (H, W, 3) uint8 RGB, got {array.shape} of {array.dtype}; window it first"
        )
    if not description:
        raise UnsupportedError(path, "a capture without a description cannot be told from an image of the patient; say what it shows")
    opened = open_source(source, path, "a capture")
    with making("a capture", opened):
        made = highdicom.sc.SCImage(
            pixel_array=np.ascontiguousarray(array),
            photometric_interpretation="MONOCHROME2" if grey else "RGB",
            bits_allocated=8 * array.dtype.itemsize,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            series_instance_uid=uid("series"),
            series_number=series_number,
            sop_instance_uid=uid("instance"),
            instance_number=instance_number,
            series_description=series_description,
            specific_character_set="ISO_IR 192",
            **patient_and_study(opened.headers[0]),
            **maker(equipment or Equipment()),
        )
        # highdicom wants the patient's sides, which a picture does not know: empty is allowed, a guess is not.
        made.PatientOrientation = []
        made.copy_patient_and_study_information(opened.headers[0])
        made.Laterality = opened.headers[0].get("Laterality") or ""
        made.ImageType = ["DERIVED", "SECONDARY"]
        made.BurnedInAnnotation = "YES" if burned_in else "NO"
        made.ConversionType = "WSD"  # made on a workstation
        made.ImageComments = description[:10240]
        made.DerivationDescription = description[:1024]
        made.SourceImageSequence = [_reference(header) for header in opened.headers]
    with replacing(path) as partial:
        made.save_as(partial)
        with parsing(partial):
            back = np.frombuffer(dcmread(partial).PixelData, array.dtype.newbyteorder("<"))[: array.size].reshape(array.shape)
        if not np.array_equal(back, array):
            raise GeometryError(path, "the picture does not come back as it was given; nothing was written")
    return path


def write_key_images(
    source: Files,
    path: Path | str,
    *,
    title: Code = OF_INTEREST,
    description: str = "",
    observer: str = "",
    series_number: int = 904,
    series_description: str = "Key images",
    equipment: Equipment | None = None,
    uid: UidMaker = new_uid,
) -> Path:
    """Write a key object selection (key image note) that points to images.

    Args:
        source: the DICOM files of the key images, of one study.
        path: where to write.
        title: why they are key, from PS3.16 CID 7010, e.g. ("113003", "DCM", "For Surgery").
        description: a remark.
        observer: the person who chose, as DICOM writes names; the equipment alone by default.
        series_number: of the new series.
        series_description: of the new series.
        equipment: who makes it; medio by default.
        uid: gives the new UIDs (roles `series`, `instance`).

    Returns:
        `path`.

    Raises:
        UnsupportedError: images of several studies, or what highdicom refuses.
        CorruptFileError: a source that lacks an identifier.
    """
    from highdicom import ko

    from medio.derived.measurements import observers

    path = Path(path)
    check_code(title, "title")
    opened = open_source(source, path, "a key image note")
    made_by = equipment or Equipment()
    with making("a key image note", opened):
        human, device = observers(observer, made_by)
        content = ko.KeyObjectSelection(
            document_title=concept(title),
            referenced_objects=list(opened.headers),
            observer_person_context=human,
            observer_device_context=device,
            description=description or None,
        )
        note = ko.KeyObjectSelectionDocument(
            evidence=list(opened.headers),
            content=content,
            series_instance_uid=uid("series"),
            series_number=series_number,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            series_description=series_description,
            specific_character_set="ISO_IR 192",
            **maker(made_by),
        )
    with replacing(path) as partial:
        note.save_as(partial)
        _check_note(partial, opened, path)
    return path


def _check_note(partial: Path, opened: Source, path: Path) -> None:
    with parsing(partial):
        items = dcmread(partial).ContentSequence
        named = {str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for item in items if "ReferencedSOPSequence" in item}
    if named != set(opened.uids):
        raise GeometryError(path, f"the note came out with {len(named)} of {len(opened.uids)} images; nothing was written")


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [concept(_PURPOSE)]
    return item
