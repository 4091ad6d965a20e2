"""Studies with identifiers planted everywhere, judged by a scanner that knows nothing of medio."""

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from medio.deidentification.files import deidentify_files
from medio.deidentification.policy import Policy
from medio.deidentification.verify import verify_deidentified

KEY = "a secret of 24 letters.."
STRICT = Policy(key=KEY, clean_structured=True)
# Everything that may be kept is kept, cleaned: the hardest case.
LENIENT = Policy(
    key=KEY,
    keep_characteristics=True,
    keep_safe_private=True,
    clean_descriptors=True,
    clean_structured=True,
    keep_device=True,
    day_first=False,
)


def prove(plant: Callable[..., Any], scan_bytes: Callable[..., Any], folder: Path, studies: int, seed: int, policy: Policy) -> None:
    planted = plant(folder / "in", studies, seed, known=policy.clean_descriptors)
    report = deidentify_files(folder / "in", folder / "out", policy)
    assert report.quarantined == ()
    assert len(report.written) == 2 * studies
    copies = {path.stem: path for path in report.written}
    leaks: list[tuple[str, str]] = []
    days: dict[str, list[tuple[date, str, str]]] = {}
    seen: dict[str, Any] = {}
    for one in planted:
        path = copies[policy.map_uid(one.sop)]
        leaks += [(one.path.name, secret) for secret in scan_bytes(path.read_bytes(), one.secrets)]
        copy = seen[one.sop] = dcmread(path)
        days.setdefault(one.person.number, []).append((one.day, copy.StudyDate, copy.PatientID))
        if one.refers_to:
            # One image, one name, wherever it is referred to.
            mapped = policy.map_uid(one.refers_to)
            assert mapped in _references(copy)
            assert seen[one.refers_to].SOPInstanceUID == mapped
            assert seen[one.refers_to].FrameOfReferenceUID == copy.FrameOfReferenceUID
    assert leaks == []
    for visits in days.values():
        assert len({patient for _, _, patient in visits}) == 1
        shifts = {(day - datetime.strptime(moved, "%Y%m%d").date()).days for day, moved, _ in visits}
        assert len(shifts) == 1  # so every interval is what it was
        assert shifts.pop() > 0
    text = b"".join(path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file() and path.suffix != ".dcm")
    assert scan_bytes(text, sorted({word for one in planted for word in one.person.words})) == []
    found = verify_deidentified(folder / "in", folder / "out", policy, strict=False)
    assert (found.files, found.absent, found.unmatched, found.leaks) == (2 * studies, 0, 0, ())


def _references(dataset: Any) -> set[str]:
    return {str(element.value) for element in dataset.iterall() if element.keyword == "ReferencedSOPInstanceUID"}


@pytest.mark.parametrize("policy", [STRICT, LENIENT], ids=["strict", "lenient"])
def test_nothing_planted_in_twenty_studies_is_found_again(plant: Any, scan_bytes: Any, tmp_path: Path, policy: Policy) -> None:
    prove(plant, scan_bytes, tmp_path, 20, 1, policy)


@pytest.mark.slow
@pytest.mark.parametrize("policy", [STRICT, LENIENT], ids=["strict", "lenient"])
def test_nothing_planted_in_five_hundred_studies_is_found_again(plant: Any, scan_bytes: Any, tmp_path: Path, policy: Policy) -> None:
    # 1,000 studies in the two cases together.
    prove(plant, scan_bytes, tmp_path, 500, 2, policy)


def test_the_scanner_finds_what_was_planted(plant: Any, scan_bytes: Any, tmp_path: Path) -> None:
    for one in plant(tmp_path, 6, 3):
        found = set(scan_bytes(one.path.read_bytes(), one.secrets))
        assert found >= {one.person.number, one.sop, f"{one.day:%Y%m%d}"}
        # One of the two sequences of a file may have taken the place of the other.
        assert len(found) > 0.6 * len(set(one.secrets))
