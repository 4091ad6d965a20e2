"""What readers said: acceptance with an interval, and how far two readers agree."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from med_review.page import FORMAT, VERDICTS
from medeval import Estimate, kappa_interval, proportion
from medrun.cli import UserError

KNOWN = tuple(value for value, _, _ in VERDICTS)


@dataclass(frozen=True)
class Reading:
    """One reader's verdicts on one page.

    Attributes:
        reader: the name given on the page, or the file's.
        page: identity of the page that was read.
        verdicts: case -> accept, minor or major; cases without a verdict are absent.
        cases: all cases of the page.
        comments: case -> text, where one was given.
    """

    reader: str
    page: str
    verdicts: dict[str, str]
    cases: tuple[str, ...]
    comments: dict[str, str]


@dataclass(frozen=True)
class Acceptance:
    """One reading in figures; every case counts as independent of the others.

    Attributes:
        reader: who.
        accepted: share accepted as it is, of the cases judged; None where none was.
        usable: share accepted or in need of a minor edit.
        counts: cases by verdict, and `unjudged`.
    """

    reader: str
    accepted: Estimate | None
    usable: Estimate | None
    counts: dict[str, int]


@dataclass(frozen=True)
class Agreement:
    """Two readings of one page: Cohen's kappa over the cases both judged; None where undefined (one verdict throughout, or no common case)."""

    readers: tuple[str, str]
    kappa: Estimate | None
    common: int
    same: int


def load(paths: Sequence[Path]) -> list[Reading]:
    """Read exported verdicts.

    Raises:
        UserError: for a file that is missing or no export of this tool, or readings of different pages, naming the file.
    """
    readings: list[Reading] = []
    for path in paths:
        reading = _load(path)
        if readings and (reading.page, reading.cases) != (readings[0].page, readings[0].cases):
            raise UserError(f"{path}: holds verdicts on another page than {paths[0]}; summarise each page by itself")
        if any(reading.reader == other.reader for other in readings):
            raise UserError(f"{path}: is a second reading by {reading.reader!r}; give each reader's last export once")
        readings.append(reading)
    return readings


def accept(reading: Reading) -> Acceptance:
    """Shares with Wilson intervals."""
    counts = Counter(reading.verdicts.values())
    n = sum(counts.values())
    shares = [proportion(good, n) if n else None for good in (counts["accept"], counts["accept"] + counts["minor"])]
    return Acceptance(reading.reader, shares[0], shares[1], {**{v: counts[v] for v in KNOWN}, "unjudged": len(reading.cases) - n})


def agree(readings: Sequence[Reading]) -> list[Agreement]:
    """Every pair of readers."""
    result = []
    for a, b in combinations(readings, 2):
        common = sorted(a.verdicts.keys() & b.verdicts.keys())
        first, second = [a.verdicts[c] for c in common], [b.verdicts[c] for c in common]
        kappa = kappa_interval(first, second, patients=common) if common else None
        result.append(Agreement((a.reader, b.reader), kappa, len(common), sum(x == y for x, y in zip(first, second, strict=True))))
    return result


def to_dict(readings: Sequence[Reading]) -> dict[str, Any]:
    """All figures as plain JSON values."""
    return {
        "page": readings[0].page,
        "cases": len(readings[0].cases),
        "readers": {
            a.reader: {"accepted": _json(a.accepted), "usable": _json(a.usable), "counts": a.counts, "comments": reading.comments}
            for reading, a in ((reading, accept(reading)) for reading in readings)
        },
        "agreement": [{"readers": list(a.readers), "kappa": _json(a.kappa), "common": a.common, "same": a.same} for a in agree(readings)],
    }


def _load(path: Path) -> Reading:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise UserError(f"{path}: is of format {data['format']!r}, not {FORMAT!r}; export it from a page of this version")
        rows = [(str(row["id"]), row["verdict"], str(row["comment"])) for row in data["cases"]]
        reader, page = str(data["reader"]).strip() or path.stem, str(data["page"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no export of a review page ({type(error).__name__}: {error}); use its Export JSON button") from error
    for name, verdict, _ in rows:
        if verdict is not None and verdict not in KNOWN:
            raise UserError(f"{path}: case {name} has the verdict {verdict!r}; known are {', '.join(KNOWN)}, or null")
    names = tuple(name for name, _, _ in rows)
    if not names or len(set(names)) != len(names):
        raise UserError(f"{path}: holds no cases, or one twice; export it again")
    verdicts = {name: str(verdict) for name, verdict, _ in rows if verdict is not None}
    return Reading(reader, page, verdicts, names, {name: comment for name, _, comment in rows if comment})


def _json(estimate: Estimate | None) -> dict[str, float | int] | None:
    return None if estimate is None else estimate.to_dict()
