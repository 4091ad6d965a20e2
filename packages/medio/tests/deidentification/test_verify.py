"""The verifier: it finds what is put back into a copy, wherever it is put, says where, and never says what."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence

from medio.deidentification.files import deidentify_files
from medio.deidentification.policy import Policy
from medio.deidentification.verify import LeakReport, verify_deidentified
from medio.errors import MissingFileError, PrivacyError

POLICY = Policy(key="a secret of 24 letters..", clean_structured=True)


@pytest.fixture
def archive(plant: Any, tmp_path: Path) -> tuple[Path, Path, list[Any]]:
    planted = plant(tmp_path / "in", 3, 11)
    deidentify_files(tmp_path / "in", tmp_path / "out", POLICY)
    return tmp_path / "in", tmp_path / "out", planted


def spoil(out: Path, planted: Any, change: Callable[[Dataset], None]) -> Path:
    path = next(out.rglob(f"{POLICY.map_uid(planted.sop)}.dcm"))
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def found(source: Path, out: Path) -> LeakReport:
    return verify_deidentified(source, out, POLICY, strict=False)


def nested(dataset: Dataset, **values: Any) -> None:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    dataset.SharedFunctionalGroupsSequence = Sequence([item])


CASES: dict[str, tuple[Callable[[Dataset, Any], Any], str, str]] = {
    "a name in a comment": (lambda d, p: setattr(d, "ImageComments", f"of {p.family.upper()}"), "(0020,4000)", "name"),
    "a given name in a vendor's term": (lambda d, p: setattr(d, "ManufacturerModelName", p.given.lower()), "(0008,1090)", "name"),
    "a number with other padding": (
        lambda d, p: setattr(d, "StudyID", f"00{p.number.removeprefix('MRN-')}"[-16:]),
        "(0020,0010)",
        "number",
    ),
    "a number in a nested code": (lambda d, p: nested(d, SequenceName=p.number[:16]), "(5200,9229)[0].(0018,0024)", "number"),
    "a birth date": (lambda d, p: setattr(d, "PatientBirthDate", f"{p.birth:%Y%m%d}"), "(0010,0030)", "birth date"),
    "the day of the study": (lambda d, p: setattr(d, "AcquisitionDate", f"{p.studies[0]:%Y%m%d}"), "(0008,0022)", "date"),
    "the day in words": (lambda d, p: setattr(d, "ImageComments", f"seen {p.studies[0]:%d %B %Y}"), "(0020,4000)", "date"),
    "the day with slashes": (lambda d, p: setattr(d, "ImageComments", f"seen {p.studies[0]:%m/%d/%Y}"), "(0020,4000)", "date"),
    "a name in private bytes": (
        lambda d, p: d.private_block(9, "X", create=True).add_new(1, "OB", p.family.encode("utf-8") + b" "),
        "(0009,1001)",
        "name",
    ),
    "a name in private text": (lambda d, p: d.private_block(9, "X", create=True).add_new(1, "LT", f"{p.family}"), "(0009,1001)", "name"),
    "a name in the file meta": (lambda d, p: setattr(d.file_meta, "SendingApplicationEntityTitle", p.number[:16]), "(0002,0017)", "number"),
    "an unmarked copy": (lambda d, p: delattr(d, "PatientIdentityRemoved"), "(0012,0062)", "unmarked"),
    "another patient's name for the folder": (lambda d, p: setattr(d, "PatientID", "P0000"), "(0012,0062)", "unmarked"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_put_back_is_found_with_its_place(case: str, archive: tuple[Path, Path, list[Any]]) -> None:
    source, out, planted = archive
    assert found(source, out).leaks == ()
    change, tag, kind = CASES[case]
    one = planted[0]
    path = spoil(out, one, lambda dataset: change(dataset, one.person))
    leaks = found(source, out).leaks
    assert (path.relative_to(out).as_posix(), tag, kind) in {(leak.file, leak.tag, leak.kind) for leak in leaks}
    with pytest.raises(PrivacyError, match="do not release it") as error:
        verify_deidentified(source, out, POLICY)
    assert tag in str(error.value)
    for secret in one.secrets:
        assert secret not in str(error.value)


def test_uids_and_numbers_of_anyone_are_found(archive: tuple[Path, Path, list[Any]]) -> None:
    source, out, planted = archive
    spoil(out, planted[0], lambda dataset: setattr(dataset, "FrameOfReferenceUID", planted[0].study))
    kinds = {(leak.tag, leak.kind) for leak in found(source, out).leaks}
    assert ("(0020,0052)", "uid") in kinds
    stranger = next(p for p in planted if p.person is not planted[0].person) if len({id(p.person) for p in planted}) > 1 else None
    if stranger is not None:
        spoil(out, planted[0], lambda dataset: setattr(dataset, "ImageComments", stranger.person.number))
        assert "other patient" in {leak.kind for leak in found(source, out).leaks}


@pytest.mark.parametrize("where", ["preamble", "behind", "wide"])
def test_bytes_that_belong_to_no_attribute_are_searched(where: str, archive: tuple[Path, Path, list[Any]]) -> None:
    source, out, planted = archive
    path = spoil(out, planted[0], lambda dataset: None)
    name = planted[0].person.number
    data = bytearray(path.read_bytes())
    if where == "preamble":
        data[: len(name)] = name.encode()
    elif where == "behind":
        data += b"\xfc\xff\xfc\xffOB\0\0" + len(name).to_bytes(4, "little") + name.lower().encode()
    else:
        data += b"\xfc\xff\xfc\xffOB\0\0" + (2 * len(name)).to_bytes(4, "little") + name.encode("utf-16-le")
    path.write_bytes(data)
    assert "number" in {leak.kind for leak in found(source, out).leaks}


def test_what_the_policy_keeps_is_no_leak(plant: Any, tmp_path: Path) -> None:
    plant(tmp_path / "in", 3, 5, known=True)
    keep = Policy(
        key=POLICY.key, clean_structured=True, keep_uids=True, keep_device=True, keep_institution=True, dates="keep", clean_descriptors=True
    )
    report = deidentify_files(tmp_path / "in", tmp_path / "out", keep)
    assert report.quarantined == ()
    assert verify_deidentified(tmp_path / "in", tmp_path / "out", keep).files == 6
    # Judged by a stricter policy, UIDs and dates are leaks; the folders' names differ only by UID.
    strict = verify_deidentified(
        tmp_path / "in", tmp_path / "out", Policy(key=POLICY.key, clean_structured=True, keep_uids=False), strict=False
    )
    assert strict.absent == 6
    assert strict.unmatched == 6


def test_a_broken_copy_and_a_missing_one_are_told(archive: tuple[Path, Path, list[Any]]) -> None:
    source, out, planted = archive
    path = spoil(out, planted[0], lambda dataset: None)
    path.write_bytes(path.read_bytes()[:300])
    spoil(out, planted[1], lambda dataset: None).unlink()
    report = found(source, out)
    assert report.absent == 1
    assert any(leak.kind in ("unreadable", "unmarked") for leak in report.leaks)
    with pytest.raises(MissingFileError, match="is no folder"):
        verify_deidentified(source, out / "nowhere", POLICY)
    with pytest.raises(MissingFileError, match="does not exist"):
        verify_deidentified(source / "nowhere", out, POLICY)


@pytest.mark.parametrize(("name", "kept"), [("Patient^Basic", True), ("Phantom^Lotte", False)])
def test_a_name_inside_a_word_goes_and_a_name_that_every_copy_holds_is_no_leak(name: str, kept: bool, tmp_path: Path) -> None:
    # "Patient" stands in the meaning of a method code that is in every copy; "phantom" stands inside a kept software version.
    original = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    original.PatientName, original.SoftwareVersions, original.Manufacturer = name, "medphantom 1", "Maker"
    (tmp_path / "in").mkdir()
    original.save_as(tmp_path / "in" / "a.dcm")
    policy = Policy(key="k" * 16, keep_device=True)
    report = deidentify_files(tmp_path / "in", tmp_path / "out", policy)
    assert verify_deidentified(tmp_path / "in", tmp_path / "out", policy).leaks == ()
    copy = dcmread(report.written[0])
    assert bool(copy.SoftwareVersions) == kept
    assert copy.Manufacturer == "Maker"
