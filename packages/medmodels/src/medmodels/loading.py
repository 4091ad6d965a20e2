"""Encoder weights into a network, with a report of what matched."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from medmodels.artifacts import read_artifact
from medmodels.cards import EncoderCard
from medmodels.contracts import Backbone
from medmodels.errors import EncoderMismatchError
from medmodels.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What of a network's state was found in an artifact.

    Attributes:
        matched: names loaded.
        missing: names of the network that the artifact lacks; these keep their values.
        unexpected: names of the artifact's encoder that the network lacks.
        mismatched: names in both, of different shapes; these keep their values.
        fraction: share of the network's names that matched, 0 to 1.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    fraction: float


def load_weights(folder: Path | str, backbone: Backbone, *, expect: Preprocessing | None = None, min_matched: float = 0.9) -> LoadReport:
    """Load an artifact's encoder into a network; nothing is changed where a check fails.

    Args:
        folder: an artifact of any kind; of a task's, the part named `backbone` is taken.
        backbone: receives the weights, and the card's provenance; its own architecture and arguments stay on its card.
        expect: the preprocessing that the network will serve; None leaves it unchecked.
        min_matched: least share of the network's names that must match, 0 to 1.

    Returns:
        What matched.

    Raises:
        EncoderMismatchError: where architecture, dimensions, channels, axes, spacing or intensity differ, or too little matched.
        ArtifactError: where the folder is no artifact.
    """
    state, metadata = read_artifact(folder)
    card = EncoderCard.from_dict(metadata["card"])
    differences = _card_differences(card, backbone)
    if expect is not None:
        differences += _preprocessing_differences(card, expect)
    if differences:
        raise EncoderMismatchError(f"{folder}: the weights do not fit: {'; '.join(differences)}")
    if metadata["kind"] != "encoder":
        state = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
    assert isinstance(backbone, nn.Module)  # every Backbone is one; a Protocol cannot say so
    own = backbone.state_dict()
    matched = tuple(name for name in own if name in state and state[name].shape == own[name].shape)
    report = LoadReport(
        matched=matched,
        missing=tuple(name for name in own if name not in state),
        unexpected=tuple(name for name in state if name not in own),
        mismatched=tuple(name for name in own if name in state and state[name].shape != own[name].shape),
        fraction=len(matched) / max(len(own), 1),
    )
    if report.fraction < min_matched:
        absent = [*report.missing, *report.mismatched][:3]
        raise EncoderMismatchError(
            f"{folder}: only {report.fraction:.0%} of the network's {len(own)} tensors matched, {min_matched:.0%} are asked for "
            f"(first without a match: {', '.join(absent)}); load {card.arch} with its own arguments {dict(card.kwargs)}"
        )
    backbone.load_state_dict({name: state[name] for name in matched}, strict=False)
    backbone.card = replace(card, arch=backbone.card.arch, kwargs=backbone.card.kwargs)
    return report


def _card_differences(card: EncoderCard, backbone: Backbone) -> list[str]:
    """What makes the saved network another than this one."""
    pairs: list[tuple[str, Any, Any]] = [("spatial_dims", card.kwargs.get("spatial_dims"), backbone.spatial_dims)]
    pairs.append(("in_channels", card.kwargs.get("in_channels", 1), backbone.in_channels))
    if backbone.card.arch:
        pairs.append(("arch", card.arch, backbone.card.arch))
    return [f"{name} is {theirs} in the artifact and {ours} here" for name, theirs, ours in pairs if theirs != ours]


def _preprocessing_differences(card: EncoderCard, expect: Preprocessing) -> list[str]:
    """What makes the images of training others than those expected; a card without spacing was trained on varied ones and takes any."""
    differences: list[str] = []
    if card.axes != expect.axes:
        differences.append(f"axes are {card.axes} in the artifact and {expect.axes} here")
    if card.spacing_mm is not None and not _close(card.spacing_mm, expect.spacing_mm):
        differences.append(f"spacing_mm is {card.spacing_mm} in the artifact and {expect.spacing_mm} here")
    theirs, ours = _intensity(card.intensity), _intensity(expect.to_dict()["intensity"])
    if theirs != ours:
        differences.append(f"intensity is {theirs or 'not stated'} in the artifact and {ours} here")
    return differences


def _close(theirs: tuple[float, ...], ours: tuple[float, ...] | None) -> bool:
    """Whether two spacings are the same to one part in a thousand."""
    return ours is not None and len(theirs) == len(ours) and all(abs(a - b) <= 1e-3 * abs(a) for a, b in zip(theirs, ours, strict=True))


def _intensity(values: Mapping[str, Any]) -> dict[str, Any]:
    """An intensity without its empty fields."""
    return {name: value for name, value in values.items() if value is not None}
