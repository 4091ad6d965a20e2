"""Names of the volumes of a series, from what tells them apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

_TIMES = ("time_index", "frame_reference_time", "acquisition_number", "acquired", "instance_number")


def name_parts(labels: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name volumes by their labels.

    Args:
        labels: of each volume in their order, see `medio.dicom.split.Part`.

    Returns:
        a unique name each, e.g. `b1000 #2`, `echo 1 (4.9 ms)`, `magnitude, time 3`; one empty name for one volume.
    """
    if len(labels) == 1:
        return [""]
    echoes = sorted({one["echo_time_ms"] for one in labels if one.get("echo_time_ms") is not None})
    directions: dict[tuple[Any, ...], int] = defaultdict(int)
    times = {key: sorted({one[key] for one in labels if one.get(key) is not None}) for key in _TIMES}
    phases = sorted({one["cardiac_phase"] for one in labels if one.get("cardiac_phase") is not None})
    names = []
    for one in labels:
        words: list[str] = []
        for key, value in one.items():
            if key == "gradient":
                alike = tuple((k, v) for k, v in one.items() if k != "gradient")
                number = directions[alike] = directions[alike] + 1
                if words and "b_value" in one:
                    words[-1] += f" #{number}"
                else:
                    words.append(f"direction {number}")
            elif key in _TIMES:
                word = "repeat" if any(text.startswith("time ") for text in words) else "time"
                words.append(f"{word} {times[key].index(value) + 1 if value is not None else 'unknown'}")
            else:
                words.append(_word(key, value, echoes, phases))
        names.append(", ".join(words))
    return _unique(names)


def _word(key: str, value: Any, echoes: list[float], phases: list[float]) -> str:
    if value is None or value == "":
        return f"no {key.replace('_', ' ').removesuffix(' ms')}"
    if key in ("plane", "kind"):
        return str(value)
    if key == "echo_time_ms":
        return f"echo {echoes.index(value) + 1} ({value:g} ms)"
    if key == "b_value":
        return f"b{value:.0f}"
    if key == "cardiac_phase":
        return f"phase {phases.index(value) + 1}"
    if key == "image_type":
        return "/".join(value)
    formats = {
        "acquisition": "acquisition {:g}",
        "echo_number": "echo {:g}",
        "inversion_time_ms": "TI {:g} ms",
        "flip_angle": "flip {:g} degrees",
        "kvp": "{:g} kV",
        "energy_window": "energy window {:g}",
        "detector": "detector {:g}",
        "respiratory_phase": "respiration {:g} %",
        "trigger_time": "phase {:g}",
    }
    return formats[key].format(value) if key in formats else f"{key} {value}"


def _unique(names: list[str]) -> list[str]:
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    seen: dict[str, int] = defaultdict(int)
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name} #{seen[name]}" if counts[name] > 1 else name)
    return unique
