"""The card that travels inside every checkpoint: what the weights are and where they come from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderCard:
    """Provenance and input contract of a set of encoder weights.

    Attributes:
        arch: name in the registry, see `create_model`.
        kwargs: arguments that `create_model` was given, plain JSON values.
        axes: what the spatial axes were in training, e.g. `SPL`, or None where films carry none.
        spacing_mm: spacing in training, in the order of the axes; None where it varied.
        intensity: the `Intensity` of training as a dict.
        objective: how the weights were learned, e.g. `mae`, `segmentation`, `random`.
        code_version: version of the package that trained them.
        data_fingerprint: hash of the dataset's indexes.
        licence: SPDX name or text of the weights' licence.
        citations: works to cite.
    """

    arch: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    axes: str | None = None
    spacing_mm: tuple[float, ...] | None = None
    intensity: Mapping[str, Any] = field(default_factory=dict)
    objective: str = "random"
    code_version: str = ""
    data_fingerprint: str = ""
    licence: str = ""
    citations: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; an unknown field raises TypeError."""
        values = dict(data)
        if values.get("spacing_mm") is not None:
            values["spacing_mm"] = tuple(values["spacing_mm"])
        values["citations"] = tuple(values.get("citations", ()))
        return cls(**values)
