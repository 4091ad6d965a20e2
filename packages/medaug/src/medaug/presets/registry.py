"""Presets by name."""

import inspect
from collections.abc import Callable
from typing import Any

from medaug.errors import AugmentationError
from medaug.presets.catalogue import did_you_mean
from medaug.presets.ct import ct_classification, ct_detection, ct_dino, ct_mae, ct_segmentation
from medaug.presets.general import light, nnunet, registration
from medaug.presets.mr import mr_classification, mr_dino, mr_mae, mr_segmentation
from medaug.presets.ultrasound import ultrasound_classification, ultrasound_segmentation
from medaug.presets.xray import xray_classification, xray_detection, xray_dino, xray_mae

_PRESETS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        ct_classification,
        ct_detection,
        ct_dino,
        ct_mae,
        ct_segmentation,
        light,
        nnunet,
        registration,
        mr_classification,
        mr_dino,
        mr_mae,
        mr_segmentation,
        ultrasound_classification,
        ultrasound_segmentation,
        xray_classification,
        xray_detection,
        xray_dino,
        xray_mae,
    )
}


def list_presets() -> dict[str, str]:
    """Give every preset's name and what it is for, in the order of the alphabet."""
    return {name: (function.__doc__ or "").splitlines()[0].rstrip(".") for name, function in sorted(_PRESETS.items())}


def preset_options(name: str) -> dict[str, Any]:
    """Give the options of a preset and their defaults.

    Raises:
        AugmentationError: for an unknown name; says which one is near.
    """
    return {key: parameter.default for key, parameter in inspect.signature(_find(name)).parameters.items()}


def make_preset(name: str, **options: Any) -> Any:
    """Make a preset by its name, as configs and command lines do.

    Args:
        name: one of `list_presets()`.
        options: of that preset, see its function.

    Returns:
        A `Compose`; of the `…_dino` presets a `MultiCrop`.

    Raises:
        AugmentationError: for an unknown preset or option; says which one is near.
    """
    function, known = _find(name), preset_options(name)
    for option in options:
        if option not in known:
            raise AugmentationError(name, f"has no option {option!r}{did_you_mean(option, known)}; it has {', '.join(known) or 'none'}")
    return function(**options)


def _find(name: str) -> Callable[..., Any]:
    if name not in _PRESETS:
        raise AugmentationError(name, f"is no preset{did_you_mean(name, _PRESETS)}; `python -m medaug.show --list` names them all")
    return _PRESETS[name]
