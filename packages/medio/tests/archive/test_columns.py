"""What the columns of the index hold: pydicom is the oracle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import MediaStorageDirectoryStorage

import medio
from medio.archive.columns import KEYWORDS, SCHEMA, snake_case

WriteCT = Callable[..., list[Path]]
AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])
GROUPS = {
    **dict.fromkeys(("pixel_spacing", "slice_thickness", "spacing_between_slices"), "PixelMeasuresSequence"),
    "image_orientation_patient": "PlaneOrientationSequence",
}


def by_pydicom(dataset: Dataset, name: str) -> Any:
    """A column's value, by pydicom; enhanced objects say some of it in their functional groups."""
    value = dataset.get(KEYWORDS[name])
    if value is None and name in GROUPS:
        shared, frames = dataset.get("SharedFunctionalGroupsSequence", []), dataset.get("PerFrameFunctionalGroupsSequence", [])
        said = [item.get(GROUPS[name]) for item in shared[:1]]
        said = said if any(said) else [item.get(GROUPS[name]) for item in [*frames[:1], *frames[-1:]]]
        values = [group[0].get(KEYWORDS[name]) for group in said if group]
        value = values[0] if values and values[0] == values[-1] else None
    if value is None or value == "":
        return None
    kind, several = SCHEMA.field(name).type, hasattr(value, "append")
    if pa.types.is_list(kind):
        convert = float if pa.types.is_floating(kind.value_type) else str
        return [convert(part) for part in (value if several else [value])] or None
    if pa.types.is_string(kind):
        return "\\".join(map(str, value)) if several else str(value)
    return int(value) if pa.types.is_integer(kind) else float(value)


def test_columns_are_named_by_their_keyword() -> None:
    names = {
        "SOPInstanceUID": "sop_instance_uid",
        "KVP": "kvp",
        "XRayTubeCurrent": "x_ray_tube_current",
        "MRAcquisitionType": "mr_acquisition_type",
    }
    assert {keyword: snake_case(keyword) for keyword in names} == names


@pytest.mark.parametrize("folder", ["dicom_multivendor", "dicom_decode", "deid", "ct_totalseg"])
def test_every_column_of_real_files_is_what_pydicom_reads(shared_data: Path, folder: str) -> None:
    rows = [row for row in medio.scan(shared_data / folder).to_pylist() if row["error"] != "not DICOM"][::7]
    wrong = []
    for row in rows:
        dataset = dcmread(row["path"], stop_before_pixels=True, force=True)
        wrong += [(row["path"], name, row[name]) for name in KEYWORDS if row[name] != by_pydicom(dataset, name)]
        assert row["sop_class_uid"] == (dataset.SOPClassUID or dataset.file_meta.MediaStorageSOPClassUID)
    assert rows
    assert wrong == []


def test_a_value_that_makes_no_sense_is_null_and_hides_no_other(write_ct: WriteCT, tmp_path: Path) -> None:
    (path,) = write_ct(tmp_path, np.zeros((1, 4, 5), np.uint16), AFFINE, KVP="120")
    path.write_bytes(path.read_bytes().replace(b"\x18\0\x60\0DS\4\x00120 ", b"\x18\0\x60\0DS\4\0high"))
    row = medio.scan(tmp_path).to_pylist()[0]
    assert (row["kvp"], row["error"], row["patient_id"], row["rows"]) == (None, None, "P1", 4)


def test_an_enhanced_object_has_its_spacing_in_the_index(shared_data: Path) -> None:
    rows = medio.scan(shared_data / "dicom_multivendor").to_pylist()
    enhanced = [row for row in rows if (row["number_of_frames"] or 0) > 1]
    assert enhanced
    assert all(row["pixel_spacing"] is not None and row["slice_thickness"] is not None for row in enhanced if row["modality"] == "MR")


def test_what_frames_disagree_on_is_not_in_the_index(write_ct: WriteCT, tmp_path: Path) -> None:
    def frame(thickness: str) -> Dataset:
        item, measures = Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = ["0.5", "0.5"], thickness
        item.PixelMeasuresSequence = [measures]
        return item

    frames = [frame("1"), frame("2")]
    (path,) = write_ct(tmp_path, np.zeros((1, 4, 5), np.uint16), AFFINE, PerFrameFunctionalGroupsSequence=frames)
    dataset = dcmread(path)
    del dataset.PixelSpacing, dataset.SliceThickness
    dataset.save_as(path)
    row = medio.scan(tmp_path).to_pylist()[0]
    assert (row["pixel_spacing"], row["slice_thickness"]) == ([0.5, 0.5], None)


def test_a_report_that_ends_early_is_an_error_row(tmp_path: Path) -> None:
    data = Path(get_testdata_file("rtplan.dcm", download=False)).read_bytes()
    (tmp_path / "a.dcm").write_bytes(data[: len(data) - 10])
    assert medio.scan(tmp_path)["error"].to_pylist() == ["ends inside its header; the file is truncated, fetch it again or exclude it"]


def test_objects_that_refer_say_to_what(shared_data: Path) -> None:
    table = medio.scan(shared_data / "dicom_decode")
    rows = [row for row in table.to_pylist() if row["modality"] in {"SEG", "SR", "RTSTRUCT"} and row["error"] is None]
    assert {row["modality"] for row in rows} >= {"SEG", "SR"}
    for row in rows:
        dataset = dcmread(row["path"], stop_before_pixels=True)
        evidence = [s for study in dataset.get("CurrentRequestedProcedureEvidenceSequence", []) for s in study.ReferencedSeriesSequence]
        expected = {str(s.SeriesInstanceUID) for s in [*dataset.get("ReferencedSeriesSequence", []), *evidence]}
        assert set(row["referenced_series_instance_uid"] or []) == expected
    structures = medio.scan(Path(get_testdata_file("rtstruct.dcm", download=False)).parent).to_pylist()
    row = next(r for r in structures if r["path"].endswith("/rtstruct.dcm"))
    (frame,) = dcmread(row["path"], force=True).ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    assert row["referenced_study_instance_uid"] == [study.ReferencedSOPInstanceUID]
    assert row["referenced_series_instance_uid"] == [study.RTReferencedSeriesSequence[0].SeriesInstanceUID]


def test_a_radiopharmaceutical_is_found_in_its_sequence(write_ct: WriteCT, tmp_path: Path) -> None:
    code, item = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "C-B1031", "SRT", "Fluorodeoxyglucose F^18^"
    item.RadiopharmaceuticalCodeSequence = [code]
    write_ct(tmp_path, np.zeros((1, 4, 5), np.uint16), AFFINE, Modality="PT", RadiopharmaceuticalInformationSequence=[item])
    assert medio.scan(tmp_path)["radiopharmaceutical"].to_pylist() == ["Fluorodeoxyglucose F^18^"]


def test_a_dicomdir_is_a_row_and_what_it_names_in_vain_too() -> None:
    source = Path(get_testdata_file("DICOMDIR", download=False))
    table = medio.scan(source.parent)
    rows = {row["path"]: row for row in table.to_pylist()}
    marked = rows[str(source)]
    assert (marked["sop_class_uid"], marked["error"], marked["rows"]) == (MediaStorageDirectoryStorage, None, None)
    records = dcmread(source).DirectoryRecordSequence
    named = {source.parent.joinpath(*r.ReferencedFileID) for r in records if "ReferencedFileID" in r}
    assert named
    for path in named:
        row = rows[str(path)]
        assert (row["error"] is None) == path.exists() or "named by" not in (row["error"] or "")
        if not path.exists():
            assert row["error"] == f"named by {source.name} but not there; fetch it again"


def test_a_file_gone_from_a_dicomdir_is_noticed_by_the_next_scan(tmp_path: Path) -> None:
    source = Path(get_testdata_file("DICOMDIR", download=False))
    records = dcmread(source).DirectoryRecordSequence
    parts = next(list(r.ReferencedFileID) for r in records if "ReferencedFileID" in r)
    (tmp_path / "DICOMDIR").write_bytes(source.read_bytes())
    there = tmp_path.joinpath(*parts)
    there.parent.mkdir(parents=True)
    there.write_bytes(source.parent.joinpath(*parts).read_bytes())
    first = medio.scan(tmp_path)
    assert str(there) in first.filter(first["error"].is_null())["path"].to_pylist()
    there.unlink()
    second = medio.scan(tmp_path, previous=first)
    gone = [row["error"] for row in second.to_pylist() if row["path"] == str(there)]
    assert gone == ["named by DICOMDIR but not there; fetch it again"]


def test_the_index_is_queried_by_duckdb_as_by_pyarrow(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "index.parquet"
    table = medio.scan(shared_data / "dicom_multivendor", out=out)
    found = duckdb.sql(
        f"""select manufacturer, modality, count(distinct series_instance_uid) as series, count(*) as files
            from '{out}' where error is null and image_position_patient is not null
            group by all order by files desc, manufacturer"""
    ).fetchall()
    counted: dict[tuple[str, str], list[str]] = {}
    for row in table.to_pylist():
        if row["error"] is None and row["image_position_patient"] is not None:
            counted.setdefault((row["manufacturer"], row["modality"]), []).append(row["series_instance_uid"])
    assert len(found) >= 3
    assert {(m, k): (s, n) for m, k, s, n in found} == {key: (len(set(uids)), len(uids)) for key, uids in counted.items()}
    thin = duckdb.sql(f"select path from '{out}' where modality = 'CT' and slice_thickness <= 5 and 'AXIAL' = any(image_type)").fetchall()
    assert thin
