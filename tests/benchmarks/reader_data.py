"""What `bench_reader.py` reads: one CT series and one film in every transfer syntax, encoded from the same values."""

import copy
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRBigEndian, generate_uid

CT = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct_totalseg" / "example_ct_dicom"
_PREFIX = "1.2.840.10008.1.2"


def _rle(plane: np.ndarray) -> bytes:
    from pydicom.pixels.encoders import RLELosslessEncoder

    return RLELosslessEncoder.encode(
        plane.tobytes(),
        rows=plane.shape[0],
        columns=plane.shape[1],
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=16,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        number_of_frames=1,
        encoding_plugin="pydicom",
    )


@dataclass(frozen=True)
class Syntax:
    """A transfer syntax: its UID, and how a frame is encoded (None where it is not compressed)."""

    uid: str
    encode: Callable[[np.ndarray], bytes] | None = None


_HTJ2K = Syntax(f"{_PREFIX}.4.201", lambda p: imagecodecs.htj2k_encode(p, reversible=True))
SYNTAXES = {
    "uncompressed LE": Syntax(f"{_PREFIX}.1"),
    "uncompressed BE": Syntax(f"{_PREFIX}.2"),
    "deflated": Syntax(f"{_PREFIX}.1.99"),
    "RLE": Syntax(f"{_PREFIX}.5", _rle),
    "JPEG lossless": Syntax(f"{_PREFIX}.4.70", lambda p: imagecodecs.jpeg8_encode(p, lossless=True, predictor=1, bitspersample=16)),
    "JPEG-LS": Syntax(f"{_PREFIX}.4.80", imagecodecs.jpegls_encode),
    "JPEG 2000": Syntax(
        f"{_PREFIX}.4.90", lambda p: imagecodecs.jpeg2k_encode(p, level=0, reversible=True, codecformat="j2k", bitspersample=12)
    ),
    "HTJ2K": _HTJ2K,
}
FILM_SYNTAXES = {"film uncompressed": Syntax(f"{_PREFIX}.1"), "film HTJ2K": _HTJ2K}


@dataclass(frozen=True)
class Sample:
    """Files of one syntax.

    Attributes:
        name: of the syntax.
        uid: of the syntax.
        reads: the files of each read: one series, or film by film.
        truths: the values of each read.
        streams: the encoded frames, or none.
        count: slices or films in all.
    """

    name: str
    uid: str
    reads: tuple[tuple[Path, ...], ...]
    truths: tuple[np.ndarray, ...]
    streams: tuple[bytes, ...]
    count: int

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(path.stat().st_size for paths in self.reads for path in paths)


def make_series(folder: Path, syntaxes: dict[str, Syntax], slices: int) -> list[Sample]:
    """Write a CT series of 512x512 in each syntax."""
    planes, headers = _ct(slices)
    truth = planes.astype(np.int16) - np.int16(1024)
    samples = []
    for name, syntax in syntaxes.items():
        series, study = generate_uid(entropy_srcs=["series", name]), generate_uid(entropy_srcs=["study", name])
        paths, streams = [], []
        for z, (plane, header) in enumerate(zip(planes, headers, strict=True)):
            header.SeriesInstanceUID, header.StudyInstanceUID = series, study
            header.SOPInstanceUID = generate_uid(entropy_srcs=[name, str(z)])
            paths.append(folder / name.replace(" ", "_") / f"{z:04d}.dcm")
            streams += _write(paths[-1], header, plane, syntax)
        samples.append(Sample(name, syntax.uid, (tuple(paths),), (truth,), tuple(streams), slices))
    return samples


def make_films(folder: Path, syntaxes: dict[str, Syntax], count: int) -> list[Sample]:
    """Write films of 2500x2048 and 16 bit in each syntax."""
    planes, _ = _ct(count)
    rng = np.random.default_rng(1)
    samples = []
    for name, syntax in syntaxes.items():
        paths, truths, streams = [], [], []
        for z in range(count):
            # A CT slice as a shadow picture: enlarged, on 14 bit, with the quantum noise of a detector.
            rows, columns = np.linspace(0, 511, 2500).astype(int), np.linspace(0, 511, 2048).astype(int)
            shadow = 4.0 * planes[z][np.ix_(rows, columns)] + 1000
            film = np.clip(shadow + rng.normal(0, 25, shadow.shape), 0, 16383).astype(np.uint16)
            paths.append(folder / name.replace(" ", "_") / f"{z:04d}.dcm")
            truths.append(film)
            streams += _write(paths[-1], _film_header(name, z), film, syntax)
        samples.append(Sample(name, syntax.uid, tuple((path,) for path in paths), tuple(truths), tuple(streams), count))
    return samples


def _ct(slices: int) -> tuple[np.ndarray, list[Dataset]]:
    files = sorted(CT.glob("*")) if CT.is_dir() else []
    if files:
        real = sorted((dcmread(path) for path in files), key=lambda header: float(header.ImagePositionPatient[2]))
        x, y, start = (float(v) for v in real[0].ImagePositionPatient)
        step = float(real[1].ImagePositionPatient[2]) - start
        decoded = [imagecodecs.jpeg2k_decode(bytes(header.PixelData[16:])) for header in real]
        for header in real:
            del header.PixelData
        headers = []
        for z in range(slices):  # a longer series than there are real slices repeats them further along
            header = copy.deepcopy(real[z % len(real)])
            header.SOPClassUID, header.PatientName, header.PatientID = CTImageStorage, "bench", "bench"
            header.ImagePositionPatient, header.SliceLocation, header.InstanceNumber = [x, y, start + step * z], start + step * z, z + 1
            headers.append(header)
        return np.stack([decoded[z % len(real)] for z in range(slices)]).astype(np.uint16), headers
    return _made_up(slices)


def _made_up(slices: int) -> tuple[np.ndarray, list[Dataset]]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    body = np.where((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1, 1050, 20) + np.where((x - 0.3) ** 2 + y**2 < 0.04, -800, 0)
    planes = np.clip(body + rng.normal(0, 15, (slices, 512, 512)), 0, 4095).astype(np.uint16)
    headers = []
    for z in range(slices):
        header = Dataset()
        header.SOPClassUID, header.Modality, header.PatientName, header.PatientID = CTImageStorage, "CT", "bench", "bench"
        header.ImagePositionPatient, header.ImageOrientationPatient = [-250, -250, 3 * z], [1, 0, 0, 0, 1, 0]
        header.PixelSpacing, header.SliceThickness, header.FrameOfReferenceUID = [0.98, 0.98], 3, generate_uid(entropy_srcs=["frame"])
        header.RescaleIntercept, header.RescaleSlope, header.RescaleType = -1024, 1, "HU"
        header.BitsStored, header.HighBit = 12, 11
        for element in range(0x10, 0x40):  # vendors write many private elements
            header.private_block(0x0019, "BENCH", create=True).add_new(element, "LO", f"value {element}")
        headers.append(header)
    return planes, headers


def _film_header(name: str, z: int) -> Dataset:
    header = Dataset()
    header.SOPClassUID, header.Modality = DigitalXRayImageStorageForPresentation, "DX"
    header.SOPInstanceUID = generate_uid(entropy_srcs=[name, str(z)])
    header.StudyInstanceUID, header.SeriesInstanceUID = generate_uid(entropy_srcs=["study", name]), generate_uid(entropy_srcs=[name])
    header.PatientName = header.PatientID = "bench"
    header.PixelSpacing = header.ImagerPixelSpacing = [0.14, 0.14]
    header.BitsStored, header.HighBit = 14, 13
    header.WindowCenter, header.WindowWidth, header.RescaleIntercept, header.RescaleSlope = 8192, 16384, 0, 1
    return header


def _write(path: Path, header: Dataset, plane: np.ndarray, syntax: Syntax) -> list[bytes]:
    """Write one file and return its encoded frame, as a list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    meta.TransferSyntaxUID = syntax.uid
    out: Any = Dataset()
    out.update(header)
    out.file_meta, out.preamble = meta, bytes(128)
    out.Rows, out.Columns, out.SamplesPerPixel, out.PhotometricInterpretation = *plane.shape, 1, "MONOCHROME2"
    out.BitsAllocated, out.PixelRepresentation = 16, 0
    streams: list[bytes] = []
    if syntax.encode:
        streams = [bytes(syntax.encode(np.ascontiguousarray(plane)))]
        out.PixelData = encapsulate(streams)
        out["PixelData"].VR = "OB"
    else:
        order = ">u2" if syntax.uid == ExplicitVRBigEndian else "<u2"
        out.PixelData = plane.astype(order).tobytes()
        out["PixelData"].VR = "OW"
    buffer = io.BytesIO()
    out.save_as(buffer, enforce_file_format=True)
    path.write_bytes(buffer.getvalue())
    return streams


def sequence_of(paths: Sequence[Path]) -> list[str]:
    """Names as other libraries take them."""
    return [str(path) for path in paths]
