"""Indexing an archive: `medio.scan` beside a loop over `pydicom.dcmread(stop_before_pixels=True)` that collects equal columns.

    python tests/benchmarks/bench_scan.py                 20,000 small CT files
    python tests/benchmarks/bench_scan.py 2000            fewer
    python tests/benchmarks/bench_scan.py --check         exit with 1 where a goal is missed

One process each, interleaved, the fastest of some repeats, files in the page cache. The tables are compared before anything is printed. The headers are those of a
GE CT as people have them: 90 public elements, two sequences, 60 private ones with one block of 6 kB. `raw` opens each file and reads its first 16 KiB: a floor.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

import medio
from medio.archive.columns import KEYWORDS, SCHEMA

GOAL = 10.0  # times pydicom's files a second


def main() -> int:
    """Run the comparison; the return value is the exit code."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_archive(Path(folder), options.files)
        peer = paths[: options.peer_files]
        best: dict[str, tuple[float, float]] = {}
        for _ in range(options.repeats):
            index = _timed(best, "medio, 1 process", len(paths), lambda: medio.scan(folder))
            theirs = _timed(best, "pydicom", len(peer), lambda: scan_by_pydicom(peer))
            _timed(best, "raw", len(paths), lambda: _read_raw(paths))
            _timed(best, "medio, 2 processes", len(paths), lambda: medio.scan(folder, workers=2))
            _timed(best, "medio, nothing changed", len(paths), lambda known=index: medio.scan(folder, previous=known))
        assert index.slice(0, len(theirs)).equals(theirs), "the tables differ"
        assert index["error"].null_count == len(index), "a sound file is a row with an error"
        pq.write_table(index, Path(folder) / "index.parquet")
    held = index.nbytes / len(index)
    print(f"{len(paths)} files ({len(peer)} for pydicom), {len(SCHEMA)} columns, tables equal, {held:.0f} bytes a row")
    for name, (wall, cpu) in best.items():
        print(f"{name:24} {1 / wall:9.0f} files/s   wall {wall * 1e3:7.4f} ms   cpu of this process {cpu * 1e3:7.4f} ms a file")
    one, two, peers = best["medio, 1 process"], best["medio, 2 processes"], best["pydicom"]
    print(f"medio is {peers[0] / one[0]:.1f} times as fast as pydicom by wall time, {peers[1] / one[1]:.1f} by CPU time (goal {GOAL:g})")
    print(f"two processes, their start included, are {one[0] / two[0]:.2f} times as fast as one")
    return int(options.check and peers[1] / one[1] < GOAL)


def make_archive(root: Path, count: int) -> list[Path]:
    """Write CT series of 100 files each; a file is a template with its own UID, number and position."""
    template = _template(root)
    paths = []
    for number in range(count):
        series, slice_number = divmod(number, 100)
        data = template.replace(b"1.2.3.4.9.1000000.100", b"1.2.3.4.9.%07d.%03d" % (1000000 + series, 100 + slice_number))
        data = data.replace(b"1.2.3.4.8.1000000", b"1.2.3.4.8.%07d" % (1000000 + series)).replace(b"PAT00000", b"PAT%05d" % (series // 2))
        data = data.replace(b"-0000.00", b"%08.2f" % (slice_number * 2.5 - 125))
        path = root / f"{series:05d}" / f"{slice_number:03d}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    return paths


def scan_by_pydicom(paths: Sequence[Path]) -> pa.Table:
    """Collect the columns of `medio.scan` with pydicom."""
    rows = []
    for path in paths:
        status = path.stat()
        dataset = dcmread(path, stop_before_pixels=True)
        row: dict[str, Any] = {"path": str(path), "size": status.st_size, "mtime": status.st_mtime, "mtime_ns": status.st_mtime_ns}
        row |= {"sop_class_uid": str(dataset.SOPClassUID), "transfer_syntax_uid": str(dataset.file_meta.TransferSyntaxUID)}
        rows.append(row | {name: _plain(dataset, name, keyword) for name, keyword in KEYWORDS.items()})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _plain(dataset: Dataset, name: str, keyword: str) -> Any:
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    kind, several = SCHEMA.field(name).type, hasattr(value, "append")
    if pa.types.is_list(kind):
        convert = float if pa.types.is_floating(kind.value_type) else str
        return [convert(part) for part in (value if several else [value])]
    if pa.types.is_string(kind):
        return "\\".join(map(str, value)) if several else str(value)
    return int(value) if pa.types.is_integer(kind) else float(value)


def _timed(best: dict[str, tuple[float, float]], name: str, count: int, run: Callable[[], Any]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    wall, cpu = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
    before = best.get(name, (wall, cpu))
    best[name] = (min(wall, before[0]), min(cpu, before[1]))
    return result


def _read_raw(paths: Sequence[Path]) -> int:
    total = 0
    for path in paths:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # the floor: no Path methods
            total += len(file.read(1 << 14))
    return total


def _template(folder: Path) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = "1.2.3.4.9.1000000.100"
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for keyword, value in _PUBLIC.items():
        setattr(ds, keyword, value)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID, "1.2.3.4.8.1000000"
    for keyword in ("ReferencedStudySequence", "RequestAttributesSequence"):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", "1.2.3.4.7"
        setattr(ds, keyword, [item])
    rng = np.random.default_rng(0)
    for group, creator, count in ((0x0009, "GEMS_IDEN_01", 15), (0x0019, "GEMS_ACQU_01", 25), (0x0043, "GEMS_PARM_01", 18)):
        block = ds.private_block(group, creator, create=True)
        for element in range(1, count + 1):
            block.add_new(element, *(("DS", "1.5"), ("SH", "value"), ("SS", 7), ("UL", 123456))[element % 4])
    ds.private_block(0x0043, "GEMS_PARM_01").add_new(0x90, "OB", rng.bytes(6000))
    ds.Rows = ds.Columns = 16
    ds.PixelData = bytes(16 * 16 * 2)
    path = folder / "template"
    ds.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    path.unlink()
    return data


_PUBLIC: dict[str, Any] = {
    "SpecificCharacterSet": "ISO_IR 100", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "InstanceCreationDate": "20240102",
    "InstanceCreationTime": "101112", "StudyDate": "20240102", "SeriesDate": "20240102", "AcquisitionDate": "20240102",
    "ContentDate": "20240102", "StudyTime": "101112", "SeriesTime": "101213", "AcquisitionTime": "101314.123", "ContentTime": "101415",
    "AccessionNumber": "A123456789", "Modality": "CT", "Manufacturer": "GE MEDICAL SYSTEMS", "InstitutionName": "Städtisches Klinikum",
    "InstitutionAddress": "Street 1", "ReferringPhysicianName": "Ref^Doc", "StationName": "CT01", "StudyDescription": "CT Thorax",
    "SeriesDescription": "Thorax 2.5mm", "InstitutionalDepartmentName": "Radiology", "OperatorsName": "Op", "ManufacturerModelName": "Revolution",
    "PatientName": "Müller^Jan", "PatientID": "PAT00000", "PatientBirthDate": "19600101", "PatientSex": "M", "PatientAge": "064Y",
    "PatientSize": "1.78", "PatientWeight": "81.5", "ContrastBolusAgent": "IV", "BodyPartExamined": "CHEST", "ScanOptions": "HELICAL MODE",
    "SliceThickness": "2.5", "KVP": "120", "SpacingBetweenSlices": "2.5", "DataCollectionDiameter": "500", "DeviceSerialNumber": "12345",
    "SoftwareVersions": ["revo_ct_21", "b.40"], "ProtocolName": "Thorax Routine", "ContrastBolusRoute": "IV", "ReconstructionDiameter": "380",
    "DistanceSourceToDetector": "1100", "DistanceSourceToPatient": "630", "GantryDetectorTilt": "0", "TableHeight": "150",
    "RotationDirection": "CW", "ExposureTime": "500", "XRayTubeCurrent": "250", "Exposure": "12", "FilterType": "BODY FILTER",
    "GeneratorPower": "30", "FocalSpots": "1.2", "ConvolutionKernel": "STANDARD", "PatientPosition": "FFS", "RevolutionTime": 0.5,
    "SingleCollimationWidth": 0.625, "TotalCollimationWidth": 40.0, "TableSpeed": 78.75, "TableFeedPerRotation": 39.375,
    "SpiralPitchFactor": 0.984, "StudyInstanceUID": "1.2.3.4.5.6", "StudyID": "1", "SeriesNumber": "2", "AcquisitionNumber": "1",
    "InstanceNumber": "1", "ImagePositionPatient": ["-190", "-190", "-0000.00"], "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "FrameOfReferenceUID": "1.2.3.4.6", "PositionReferenceIndicator": "SN", "SliceLocation": "-0000.00", "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": ["0.742188", "0.742188"], "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
    "PixelRepresentation": 1, "SmallestImagePixelValue": 0, "LargestImagePixelValue": 4095, "WindowCenter": ["40", "-600"],
    "WindowWidth": ["400", "1500"], "RescaleIntercept": "-1024", "RescaleSlope": "1", "RescaleType": "HU",
    "WindowCenterWidthExplanation": ["SOFT", "LUNG"], "PerformedProcedureStepStartDate": "20240102", "PerformedProcedureStepStartTime": "101112",
    "PerformedProcedureStepID": "P1", "PerformedProcedureStepDescription": "CT Thorax",
}  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=int, nargs="?", default=20_000)
    parser.add_argument("--peer-files", type=int, default=2000, help="files that pydicom reads; the first ones")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
