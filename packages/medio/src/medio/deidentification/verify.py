"""The proof: nothing that identifies the originals is found in the copies, wherever it might hide."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from pydicom.dataset import Dataset

from medio.deidentification.admission import admit
from medio.deidentification.burned_in import find_text_in
from medio.deidentification.dataset import BROKEN, identity
from medio.deidentification.files import read_dataset, target_of
from medio.deidentification.identifiers import INSIDE, Identifiers, fold, parse_day, values_of
from medio.deidentification.policy import Policy
from medio.deidentification.rules import ENUMERATED
from medio.deidentification.stamp import OWN_TEXTS
from medio.deidentification.text_dates import DATE_RULES
from medio.dicom.instances import is_dicom
from medio.errors import MedioError, MissingFileError, PrivacyError

_PIXELS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})
_PROSE = frozenset({"LT", "ST", "UT"})
_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "shift_jis", "euc_jp", "euc_kr", "gb18030", "iso8859_5", "iso8859_7")
_TOKEN = re.compile(r"[^\W_][\w.-]{4,}")
_LOOKALIKES = str.maketrans({"o": "0", "q": "0", "d": "0", "i": "1", "l": "1", "|": "1", "s": "5", "b": "8", "z": "2", "g": "9"})
_SHOWN = 5


@dataclass(frozen=True)
class Leak:
    """Where something of an original was found; never what.

    Attributes:
        file: the output, below the folder.
        tag: path of the attribute; `file` for bytes that belong to none, `path` for the file's own name.
        kind: `name`, `number`, `place`, `phone`, `date`, `birth date`, `uid`, `pixels`, `other patient`, `unmarked` or `unreadable`.
    """

    file: str
    tag: str
    kind: str


@dataclass(frozen=True)
class LeakReport:
    """What `verify_deidentified` looked at and found.

    Attributes:
        files: outputs that were compared with their original.
        absent: originals without an output (set aside).
        unmatched: outputs whose original was not given; not judged.
        leaks: all findings; empty is the proof.
    """

    files: int
    absent: int
    unmatched: int
    leaks: tuple[Leak, ...]


def verify_deidentified(
    source: Sequence[Path | str] | Path | str,
    output: Path | str,
    policy: Policy,
    *,
    read_pixels: bool = False,
    strict: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> LeakReport:
    """Search the output of `deidentify_files` for every identifier of the originals.

    Searched: each attribute of every VR, nested and private ones and the file meta information too; all bytes of the file, preamble, pixels and what
    trails behind included, as text in ten encodings; the path; with `read_pixels`, the pixels by OCR. Searched for: names (word by word, in any case, with
    or without accents), numbers, places, telephone numbers, UIDs, birth dates and dates in the usual ways to write them; numbers and UIDs of all other
    patients too. What the policy keeps is no leak.

    Args:
        source: the originals: files, and folders.
        output: folder that `deidentify_files` wrote.
        policy: the one that it was written with.
        read_pixels: read the pixels of objects that may hold text, 0.2 to 3 s each; needs `medio[ocr]`.
        strict: raise where something is found.
        progress: called with (files done, files in all).

    Returns:
        The report.

    Raises:
        PrivacyError: with `strict`, for leaks; it lists files and tags, never a value.
        MissingFileError: for a path that does not exist.
    """
    folder = Path(output)
    files = list(_inputs([Path(source)] if isinstance(source, str | Path) else [Path(p) for p in source]))
    if not folder.is_dir():
        raise MissingFileError(folder, "is no folder; give the one that deidentify_files wrote")
    of_patient: dict[str, Identifiers] = {}
    pairs: dict[Path, tuple[Path, str]] = {}
    absent = 0
    for path in files:
        try:
            header = read_dataset(path, stop_before_pixels=True)
            who, target = identity(header, str(path)), target_of(header, folder, policy, path)
            mine = replace(Identifiers.of(header, policy), dates=frozenset())
        except (MedioError, *BROKEN):
            # What cannot be read has no copy either.
            absent += 1
            continue
        of_patient[who] = of_patient.get(who, Identifiers()) | mine
        if target.is_file():
            pairs.setdefault(target, (path, who))
        else:
            absent += 1
    everyone = frozenset(fold(text)[0] for known in of_patient.values() for text in known.numbers | known.uids if len(text) >= INSIDE)
    leaks: list[Leak] = []
    for done, (target, (path, who)) in enumerate(sorted(pairs.items()), start=1):
        name = target.relative_to(folder).as_posix()
        dates = Identifiers.of(read_dataset(path, stop_before_pixels=True), policy).dates
        search = _Search(name, replace(of_patient[who], dates=dates), everyone, policy, who)
        leaks += list(dict.fromkeys(search.run(target, read_pixels=read_pixels)))
        if progress is not None:
            progress(done, len(pairs))
    unmatched = sum(1 for path in folder.rglob("*.dcm") if path not in pairs)
    report = LeakReport(len(pairs), absent, unmatched, tuple(leaks))
    if leaks and strict:
        shown = "; ".join(f"{leak.file} {leak.tag} ({leak.kind})" for leak in leaks[:_SHOWN])
        more = f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise PrivacyError(folder, f"{len(leaks)} leaks: {shown}{more}; do not release it")
    return report


class _Search:
    """The search through one output."""

    def __init__(self, name: str, known: Identifiers, everyone: frozenset[str], policy: Policy, who: str) -> None:
        self.name = name
        self.known = known
        self.everyone = everyone
        self.own = frozenset(fold(text)[0] for text in known.numbers)
        self.uids = frozenset(known.uids)
        self.policy = policy
        moved = {policy.shift(day, who) for day in known.dates}
        self.allowed = known.dates if policy.dates == "keep" else frozenset(day for day in moved if day is not None)

    def run(self, target: Path, *, read_pixels: bool) -> Iterator[Leak]:
        if self.known.find(self.name, shortest_name=INSIDE):
            yield Leak(self.name, "path", "name")
        raw = target.read_bytes()
        try:
            dataset = read_dataset(target)
            found = [leak for part, path in ((dataset.file_meta, ""), (dataset, "")) for leak in self._attributes(part, path)]
            found += list(self._marks(dataset))
            if read_pixels and _may_hold_text(dataset, self.policy, self.name):
                found += list(self._read(dataset))
        except (MedioError, *BROKEN):
            yield Leak(self.name, "file", "unreadable")
            found = []
        yield from found
        if not found:
            yield from self._bytes(raw)

    def _attributes(self, dataset: Dataset, path: str) -> Iterator[Leak]:
        for element in dataset:
            place = f"{path}({element.tag.group:04X},{element.tag.element:04X})"
            if element.tag.is_private_creator and self.policy.keep_safe_private:
                continue
            if element.VR == "SQ":
                for number, item in enumerate(element.value):
                    yield from self._attributes(item, f"{place}[{number}].")
            elif isinstance(element.value, bytes):
                if element.keyword not in _PIXELS:
                    yield from self._text(element.value.decode("latin-1"), place, 5)
                    yield from self._text(element.value.decode("utf-16-le", "ignore"), place, 5)
            elif element.VR in ("DA", "DT"):
                for value in values_of(element):
                    yield from self._day(parse_day(str(value)), place)
            else:
                words = (str(value) for value in values_of(element))
                text = "\n".join(word for word in words if not (element.VR == "CS" and word in ENUMERATED) and word not in OWN_TEXTS)
                if element.VR not in ("DS", "FD", "FL", "IS", "US", "SS", "UL", "SL", "TM", "AT"):
                    yield from self._text(text, place, 3 if element.VR in _PROSE else 4)
                if element.VR in _PROSE | {"LO", "UC", "SH"}:
                    yield from self._days_in(text, place)

    def _text(self, text: str, place: str, shortest: int) -> Iterator[Leak]:
        for _, _, kind in self.known.find(text, shortest_name=shortest):
            yield Leak(self.name, place, kind)
        for token in _TOKEN.findall(fold(text)[0]):
            if token in self.uids:
                yield Leak(self.name, place, "uid")
            elif token in self.everyone and token not in self.own:
                yield Leak(self.name, place, "other patient")

    def _day(self, day: date | None, place: str) -> Iterator[Leak]:
        if day is None or day in self.allowed:
            return
        if day in self.known.births:
            yield Leak(self.name, place, "birth date")
        elif day in self.known.dates:
            yield Leak(self.name, place, "date")

    def _days_in(self, text: str, place: str) -> Iterator[Leak]:
        seen: list[date] = []

        def note(day: date) -> date:
            seen.append(day)
            return day

        for pattern, rewrite in DATE_RULES:
            for match in pattern.finditer(text):
                for day_first in (True, False):
                    rewrite(match, note, day_first)
        for day in seen:
            yield from self._day(day, place)

    def _marks(self, dataset: Dataset) -> Iterator[Leak]:
        if dataset.get("PatientIdentityRemoved") != "YES" or str(dataset.get("PatientID")) != self.name.split("/")[0]:
            yield Leak(self.name, "(0012,0062)", "unmarked")
        if str(dataset.get("BurnedInAnnotation") or "").upper() == "YES":
            yield Leak(self.name, "(0028,0301)", "unmarked")

    def _bytes(self, raw: bytes) -> Iterator[Leak]:
        """All bytes of the file, as text in any encoding; letters of ASCII in any case."""
        low = raw.lower()
        for own in OWN_TEXTS:
            low = low.replace(own.lower().encode(), b"")  # a patient may be called Patient
        for kind, texts in (
            ("name", self.known.names),
            ("number", self.known.numbers),
            ("place", self.known.places),
            ("uid", self.known.uids),
        ):
            for text in texts:
                if any(_stands_in(needle, low) for needle in _encoded(text)):
                    yield Leak(self.name, "file", kind)

    def _read(self, dataset: Dataset) -> Iterator[Leak]:
        read = " ".join(box.text for box in find_text_in(dataset))
        plain = _alike(read)
        similar = any(len(alike) >= 5 and alike in plain for alike in map(_alike, self.known.names | self.known.numbers))
        if similar or self.known.find(read):
            yield Leak(self.name, "(7FE0,0010)", "pixels")


def _inputs(given: Sequence[Path]) -> Iterator[Path]:
    for path in given:
        if not path.exists():
            raise MissingFileError(path, "does not exist; give the originals, or a folder of them")
        yield from (p for p in (sorted(path.rglob("*")) if path.is_dir() else [path]) if p.is_file() and is_dicom(p))


def _may_hold_text(dataset: Dataset, policy: Policy, name: str) -> bool:
    if "PixelData" not in dataset:
        return False
    try:
        return admit(dataset, policy, name).pixels
    except PrivacyError:
        return True


def _stands_in(needle: bytes, data: bytes) -> bool:
    if needle not in data:
        return False
    # Six digits stand inside longer numbers and UIDs by chance.
    return not re.fullmatch(rb"[\d.]+", needle) or re.search(rb"(?<![\d.])0*" + re.escape(needle) + rb"(?![\d.])", data) is not None


def _encoded(text: str) -> set[bytes]:
    needles = set()
    for form in {text, text.upper(), text.lower()}:
        for encoding in _ENCODINGS:
            try:
                data = form.encode(encoding)
            except UnicodeEncodeError:
                continue
            if len(form) >= INSIDE or (not form.isascii() and len(data) >= INSIDE):
                needles.add(data.lower())
    return needles


def _alike(text: str) -> str:
    """Letters and digits only, with those that OCR takes for one another made one."""
    return "".join(char for char in fold(text)[0] if char.isalnum()).translate(_LOOKALIKES)
