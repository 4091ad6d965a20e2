"""The volumes of one series: slices in one plane geometry and of one kind, echo, b-value, phase, time point.

Nothing is told apart that need not be: only where slices lie at the same position, or planes differ, does a series hold several volumes.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from medio.dicom.copies import drop_copies
from medio.dicom.frame import Frame, normal_of
from medio.dicom.grid import alike, measure_grid, places
from medio.dicom.labels import RANKS, TIMES, VALUE_KEYS, acquired_at, kind_of, value_readers
from medio.dicom.naming import name_parts
from medio.errors import GeometryError

_PLANES = ("sagittal", "coronal", "axial")
Key = Callable[[Frame], Hashable]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The slices of one volume.

    Attributes:
        name: unique in its series; empty where the series holds one volume.
        frames: in any order, at most one a position.
        labels: what tells this volume from the others of the series, by key, e.g. `{"b_value": 1000.0, "gradient": (…)}`.
        findings: what was noticed: copies dropped, slices lacking beside the other time points.
    """

    name: str
    frames: tuple[Frame, ...]
    labels: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


def split_volumes(frames: Sequence[Frame], name: Path | str, *, pixels: bool = True) -> tuple[list[Part], list[str]]:
    """Sort the slices of a series into volumes.

    Args:
        frames: all slices of the series.
        name: what to name in errors.
        pixels: compare the pixels of what look like copies; without, they count as copies, and the findings say so.

    Returns:
        the volumes in a stable order (largest plane geometry first; then by kind, echo, b-value, direction, phase, time), and what was found on the way.

    Raises:
        GeometryError: slices at one position that nothing in the headers tells apart.
        CorruptFileError: two files with one SOPInstanceUID and different pixels.
    """
    groups = _by_plane(frames)
    findings = [_mixed(groups[0][0], group[0]) for group in groups[1:4]]
    made: list[tuple[dict[str, Any], list[Frame]]] = []
    for plane, group in zip(_plane_names(groups), groups, strict=True):
        lead = {"plane": plane} if len(groups) > 1 else {}
        resolved = _resolve(group, name, findings, pixels=pixels) if _crowded(group) else _slabs({}, group)
        made += [({**lead, **labels}, part) for labels, part in resolved]
    ordered = _in_order(made)
    names = name_parts([labels for labels, _ in ordered])
    parts = [Part(text, tuple(part), labels) for text, (labels, part) in zip(names, ordered, strict=True)]
    return _note_lacking(parts), findings


def _by_plane(frames: Sequence[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    for frame in frames:
        group = next((g for g in groups if not alike(g[0], frame)), None)
        if group is None:
            groups.append([frame])
        else:
            group.append(frame)
    return sorted(groups, key=len, reverse=True)


def _mixed(a: Frame, b: Frame) -> str:
    differs = alike(a, b)
    return f"mixed {differs}: {a.name} {_said(a, differs)}, {b.name} {_said(b, differs)}"


def _said(frame: Frame, differs: str) -> str:
    if differs == "sizes":
        return f"is {frame.size[0]}x{frame.size[1]}"
    if differs == "pixel spacings":
        return f"has {frame.spacing[0]:g} x {frame.spacing[1]:g} mm"
    return f"lies {_plane(frame)}" if differs == "orientations" else f"lies in {frame.frame_of_reference_uid or 'none'}"


def _plane(frame: Frame) -> str:
    return _PLANES[int(np.abs(normal_of(frame)).argmax())]


def _plane_names(groups: Sequence[Sequence[Frame]]) -> list[str]:
    texts = []
    for group in groups:
        frame = group[0]
        words = ["localizer"] if kind_of(frame) == "localizer" else []
        texts.append([*words, _plane(frame), f"{frame.size[0]}x{frame.size[1]}", f"{frame.spacing[0]:g} mm"])
    # As few words as tell them apart.
    for used in (2, 3, 4):
        names = [" ".join(words[: used if words[0] == "localizer" else used - 1]) for words in texts]
        if len(set(names)) == len(names):
            return names
    seen: dict[str, int] = defaultdict(int)
    numbered = []
    for plain in [" ".join(words[:2] if words[0] == "localizer" else words[:1]) for words in texts]:
        seen[plain] += 1
        numbered.append(f"{plain} #{seen[plain]}")
    return numbered


def _crowded(frames: Sequence[Frame]) -> bool:
    return len(frames) > 1 and int(places(frames).max()) + 1 < len(frames)


def _resolve(frames: Sequence[Frame], name: Path | str, findings: list[str], *, pixels: bool) -> list[tuple[dict[str, Any], list[Frame]]]:
    """Split frames until no two of a part lie at one position."""
    kept = drop_copies(frames, findings, same_uid=True, pixels=pixels)
    parts: list[tuple[dict[str, Any], list[Frame]]] = [({}, kept)]
    for key, value in value_readers().items():
        parts = [made for labels, part in parts for made in _partition(labels, part, key, value, complete=False)]
    for key, value in TIMES.items():
        parts = [made for labels, part in parts for made in _partition(labels, part, key, value, complete=True)]
    parts = [made for labels, part in parts for made in (_slabs(labels, part) if _crowded(part) else [(labels, part)])]
    parts = [made for labels, part in parts for made in _rank(labels, part)]
    done = []
    for labels, part in parts:
        if not _crowded(part):
            done.append((labels, part))
            continue
        fewer = drop_copies(part, findings, same_uid=False, pixels=pixels)
        ranked = _rank(labels, fewer)
        for part_labels, part_frames in ranked:
            if _crowded(part_frames):
                _refuse(part_frames, name)
            done.append((part_labels, part_frames))
    return done


def _partition(
    labels: dict[str, Any], frames: list[Frame], key: str, value: Key, *, complete: bool
) -> list[tuple[dict[str, Any], list[Frame]]]:
    """Split by the value of a key, where it differs between frames at one position and splits them into whole volumes."""
    plain = [(labels, frames)]
    if not _crowded(frames):
        return plain
    where, values = places(frames), [value(frame) for frame in frames]
    at: dict[int, set[Hashable]] = defaultdict(set)
    for place, said in zip(where, values, strict=True):
        at[int(place)].add(said)
    if all(len(said) == 1 for said in at.values()):
        return plain
    made: dict[Hashable, list[Frame]] = defaultdict(list)
    covered: dict[Hashable, set[int]] = defaultdict(set)
    for frame, place, said in zip(frames, where, values, strict=True):
        made[said].append(frame)
        covered[said].add(int(place))
    shares = sorted(len(part) / len(at) for part in covered.values())
    # A value that differs from slice to slice is no volume's: the parts must reach over the positions, for times all of them (an aborted last one aside).
    if (complete and sum(share < 1 for share in shares) > 1) or shares[len(shares) // 2] < 0.5:
        return plain
    return [({**labels, key: said}, part) for said, part in made.items()]


def _rank(labels: dict[str, Any], frames: list[Frame]) -> list[tuple[dict[str, Any], list[Frame]]]:
    """Split into the first, second, … of each position by what grows with time."""
    if not _crowded(frames):
        return [(labels, frames)]
    where = places(frames)
    at: dict[int, list[int]] = defaultdict(list)
    for number, place in enumerate(where):
        at[int(place)].append(number)
    counts = sorted({len(numbers) for numbers in at.values()})
    if len(counts) > 2 or counts[-1] - counts[0] > 1:
        return [(labels, frames)]
    for key, value in RANKS.items():
        values: list[Any] = [value(frame) for frame in frames]
        if any(said is None for said in values) or any(len({values[n] for n in numbers}) < len(numbers) for numbers in at.values()):
            continue
        made: dict[int, list[Frame]] = defaultdict(list)
        for numbers in at.values():
            for rank, number in enumerate(sorted(numbers, key=lambda n: values[n])):
                made[rank].append(frames[number])
        # Where positions are not all equally full, the last time point may have been aborted; anything else would be a mixture.
        known = {id(frame): said for frame, said in zip(frames, values, strict=True)}
        spans = [[known[id(frame)] for frame in made[rank]] for rank in sorted(made)]
        if len(counts) == 1 or all(max(earlier) < min(later) for earlier, later in pairwise(spans)):
            return [({**labels, key: rank + 1}, part) for rank, part in sorted(made.items())]
    return [(labels, frames)]


def _slabs(labels: dict[str, Any], frames: list[Frame]) -> list[tuple[dict[str, Any], list[Frame]]]:
    """Split slices that form no even stack where their stacks or acquisitions do: slabs apart, or overlapping ones."""
    plain = [(labels, frames)]
    if len(frames) < 4 or not (_crowded(frames) or measure_grid(frames, "").uneven):
        return plain
    for key, value in (("stack", value_readers()["stack"]), ("acquisition", TIMES["acquisition_number"])):
        made: dict[Hashable, list[Frame]] = defaultdict(list)
        for frame in frames:
            made[value(frame)].append(frame)
        even = all(len(part) > 1 and not _crowded(part) and not measure_grid(part, "").uneven for part in made.values())
        if len(made) > 1 and even:
            return [({**labels, key: said}, part) for said, part in made.items()]
    return plain


def _in_order(parts: list[tuple[dict[str, Any], list[Frame]]]) -> list[tuple[dict[str, Any], list[Frame]]]:
    """Sort by the labels; gradient directions and what cannot be compared by first appearance in time."""
    keys = ["plane", "acquisition", *VALUE_KEYS, *TIMES, *RANKS]
    if len(parts) == 1:
        return parts
    planes = list(dict.fromkeys(labels.get("plane") for labels, _ in parts))

    def order(part: tuple[dict[str, Any], list[Frame]]) -> tuple[Any, ...]:
        labels, frames = part
        when = min((moment for frame in frames[:1] if (moment := acquired_at(frame))), default=None)
        number = min(_instance_number(frame) for frame in frames)
        places: list[Any] = []
        for key in keys:
            value = labels.get(key)
            if key == "plane":
                places.append(planes.index(value))
            elif key == "kind":
                places.append((value != "magnitude", str(value or ""), 0.0))
            elif key in ("gradient", "image_type"):
                places.append((value is not None, "", number if value is not None else (0, 0)))
            elif isinstance(value, int | float):
                places.append((True, "", float(value)))
            else:
                places.append((value is not None, str(value or ""), 0.0))
        return (*places, str(when or ""), number)

    return sorted(parts, key=order)


def _instance_number(frame: Frame) -> tuple[int, int]:
    try:
        return int(frame.find("InstanceNumber") or 0), frame.index
    except (TypeError, ValueError):
        return 0, frame.index


def _note_lacking(parts: list[Part]) -> list[Part]:
    most: dict[Any, int] = defaultdict(int)
    for part in parts:
        most[part.labels.get("plane")] = max(most[part.labels.get("plane")], len(part.frames))
    noted = []
    for part in parts:
        full = most[part.labels.get("plane")]
        whole = len(part.frames) == full or "stack" in part.labels or (set(part.labels) <= {"plane", "acquisition"})
        found = () if whole else (f"{part.name}: {len(part.frames)} slices, other volumes have {full}: it is not complete",)
        noted.append(Part(part.name, part.frames, part.labels, found))
    return noted


def _refuse(frames: Sequence[Frame], name: Path | str) -> None:
    where = places(frames)
    distinct = int(where.max()) + 1
    seen: dict[int, Frame] = {}
    for frame, place in zip(frames, where, strict=True):
        if int(place) in seen:
            a, b = sorted((seen[int(place)].name, frame.name))
            raise GeometryError(
                name,
                f"{len(frames)} slices at {distinct} positions, e.g. {a} and {b} at the same one with different pixels, "
                "and nothing in their headers tells them apart; pass the files of one volume",
            )
        seen[int(place)] = frame
