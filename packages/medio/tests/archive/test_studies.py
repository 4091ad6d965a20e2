"""Series, studies and priors, against a plain reading of the rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import medio
from medio.archive.columns import SCHEMA

NORMALS = [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0.6, 0.8, 0, 0, 0, 1], None, [1.0, 0, 0]]


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


ROWS = st.fixed_dictionaries(
    {
        "path": st.tuples(st.sampled_from("ab"), st.integers(0, 10**6)).map(lambda p: f"/{p[0]}/{p[1]:07d}.dcm"),
        "error": st.sampled_from([None, None, None, "broken"]),
        "rows": st.sampled_from([512, 512, None]),
        "columns": st.just(256),
        "patient_id": st.sampled_from(["P1", "P2", None]),
        "study_date": st.sampled_from(["20240101", "20230101", None]),
        "study_instance_uid": st.sampled_from(["1.1", "1.2", None]),
        "series_instance_uid": st.sampled_from(["2.1", "2.2", None]),
        "series_number": st.sampled_from([1, 2, None]),
        "instance_number": st.none() | st.integers(0, 5),
        "image_position_patient": st.none() | st.lists(st.integers(-5, 5).map(float), min_size=3, max_size=3) | st.just([1.0]),
        "image_orientation_patient": st.sampled_from(NORMALS),
        "modality": st.sampled_from(["CT", "MR", None]),
    }
)


def plainly(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The series' paths, row by row in Python."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["error"] is None and row["rows"] is not None:
            uid = row["series_instance_uid"] or ""
            groups.setdefault((row["study_instance_uid"] or "", uid, "" if uid else str(Path(row["path"]).parent)), []).append(row)
    found = []
    for members in groups.values():
        members.sort(key=lambda row: row["instance_number"] or 0)
        positions, orientation = [row["image_position_patient"] for row in members], members[0]["image_orientation_patient"]
        if orientation is not None and len(orientation) == 6 and all(p is not None and len(p) == 3 for p in positions):
            normal = np.cross(orientation[:3], orientation[3:])
            members = [members[i] for i in np.argsort((np.array(positions) @ normal).round(4), kind="stable")]
        first = members[0]
        key = tuple(first[name] or "" for name in ("patient_id", "study_date", "study_instance_uid"))
        found.append(
            ((*key, first["series_number"] or 0, first["series_instance_uid"] or "", first["path"]), [row["path"] for row in members])
        )
    return [tuple(paths) for _, paths in sorted(found)]


@settings(max_examples=150)
@given(st.lists(ROWS, max_size=25, unique_by=lambda row: row["path"]))
def test_series_are_what_a_plain_loop_over_the_rows_finds(rows: list[dict[str, Any]]) -> None:
    assert [tuple(map(str, one.paths)) for one in medio.series(table_of(rows))] == plainly(rows)


def test_series_of_a_chunked_and_a_sliced_table_are_the_same() -> None:
    rows = [
        {
            "path": f"/a/{n}.dcm",
            "rows": 4,
            "series_instance_uid": str(n % 3),
            "image_position_patient": [0.0, 0.0, -n],
            "image_orientation_patient": NORMALS[0],
        }
        for n in range(30)
    ]
    whole = table_of(rows)
    chunked = pa.concat_tables([table_of(rows[:7]), table_of(rows[7:20]), table_of(rows[20:])])
    padded = pa.concat_tables([table_of(rows[:5]), whole]).slice(5)
    assert medio.series(chunked) == medio.series(whole) == medio.series(padded)
    assert [int(p.stem) for p in medio.series(whole)[0].paths] == list(range(27, -1, -3))


@pytest.mark.slow
def test_three_hundred_thousand_rows_group_in_seconds() -> None:
    import time

    count = 300_000
    numbers = np.arange(count)
    columns: dict[str, Any] = {name: pa.nulls(count, field.type) for name, field in zip(SCHEMA.names, SCHEMA, strict=True)}
    columns["path"] = pa.array([f"/archive/{n // 300:06d}/{n % 300:04d}.dcm" for n in numbers])
    columns["rows"] = columns["columns"] = pa.array(np.full(count, 512))
    for name, size in (("series_instance_uid", 300), ("study_instance_uid", 1200), ("patient_id", 2400)):
        columns[name] = pa.array([f"1.2.840.113619.2.{n // size}" for n in numbers])
    columns["instance_number"] = pa.array(numbers % 300)
    positions = np.stack([np.zeros(count), np.zeros(count), (numbers % 300) * -1.25], axis=1).ravel()
    columns["image_position_patient"] = pa.ListArray.from_arrays(np.arange(0, 3 * count + 1, 3, dtype=np.int32), positions)
    columns["image_orientation_patient"] = pa.ListArray.from_arrays(
        np.arange(0, 6 * count + 1, 6, dtype=np.int32), np.tile([1.0, 0, 0, 0, 1, 0], count)
    )
    table = pa.table(columns, schema=SCHEMA)
    started = time.process_time()
    found = medio.series(table)
    assert time.process_time() - started < 12  # a second or two on an idle core; row by row in Python half a minute
    assert len(found) == -(-count // 300)
    assert [p.stem for p in found[0].paths[:2]] == ["0299", "0298"]


def visit(patient: str, date: str, uid: str, *, modality: str = "CT", part: str = "CHEST", time: str | None = None) -> dict[str, Any]:
    return {
        "path": f"/{uid}/1.dcm",
        "rows": 4,
        "columns": 4,
        "patient_id": patient,
        "study_date": date,
        "study_time": time,
        "study_instance_uid": uid,
        "series_instance_uid": f"{uid}.1",
        "modality": modality,
        "body_part_examined": part,
        "accession_number": f"A{uid}",
    }


VISITS = [
    visit("P1", "20240601", "now"),
    visit("P1", "20240301", "spring"),
    visit("P1", "20240401", "mr", modality="MR"),
    visit("P1", "20230101", "old", part="Abdomen"),
    visit("P1", "20240701", "later"),
    visit("P2", "20240501", "other"),
    {**visit("P1", "20240601", "report", modality="SR"), "rows": None},
]


@pytest.fixture
def visits() -> pa.Table:
    return table_of(VISITS)


def by_uid(table: pa.Table) -> dict[str, medio.Study]:
    return {study.study_instance_uid: study for study in medio.studies(table)}


def test_studies_are_ordered_and_know_their_series(visits: pa.Table) -> None:
    found = medio.studies(visits)
    assert [s.study_instance_uid for s in found] == ["old", "spring", "mr", "now", "later", "other"]
    assert [(s.accession_number, s.modalities, s.body_parts, len(s.series)) for s in found][:2] == [
        ("Aold", ("CT",), ("ABDOMEN",), 1),
        ("Aspring", ("CT",), ("CHEST",), 1),
    ]


def test_reports_count_among_the_modalities_of_their_study() -> None:
    rows = [visit("P1", "20240601", "now"), {**visit("P1", "20240601", "now", modality="SR"), "rows": None, "path": "/now/2.dcm"}]
    (study,) = medio.studies(table_of(rows))
    assert (study.modalities, len(study.series)) == (("CT", "SR"), 1)


@pytest.mark.parametrize(
    "wrap", [lambda t: t, medio.studies, lambda t: iter(medio.studies(t)), lambda t: medio.histories(medio.studies(t))]
)
def test_the_prior_is_the_latest_earlier_study_that_fits(visits: pa.Table, wrap: Any) -> None:
    now = by_uid(visits)["now"]

    def prior(**wanted: Any) -> str | None:
        found = medio.prior_of(now, wrap(visits), **wanted)
        return found and found.study_instance_uid

    assert prior() == "mr"
    assert prior(modality="CT") == "spring"
    assert prior(modality={"CT", "PT"}) == "spring"
    assert prior(body_part="abdomen") == "old"
    assert prior(modality="CT", max_days=91) is None  # from March 1 to June 1 are 92 days
    assert prior(modality="CT", max_days=92) == "spring"
    assert prior(modality="US") is None


def test_what_cannot_be_placed_in_time_or_to_a_patient_has_no_prior() -> None:
    rows = [
        visit("P1", "20240601", "a", time="1200"),
        visit("P1", "20240601", "b", time="0900"),
        visit("P1", "20240601", "c"),
        visit("P1", "", "d"),
    ]
    rows += [visit("", "20240601", "e"), visit("", "20230601", "f"), visit("P1", "20241301", "g")]
    table = table_of(rows)
    found = by_uid(table)
    priors = {uid: medio.prior_of(study, medio.studies(table)) for uid, study in found.items()}
    assert {uid: prior.study_instance_uid for uid, prior in priors.items() if prior is not None} == {"a": "b"}


def test_studies_of_real_files(shared_data: Path) -> None:
    table = medio.scan(shared_data / "dicom_multivendor")
    found = medio.studies(table)
    images = [row for row in table.to_pylist() if row["error"] is None and row["rows"] is not None]
    assert sum(len(one.paths) for study in found for one in study.series) == len(images) == 232  # and one file of raw data
    assert all(study.series for study in found)
