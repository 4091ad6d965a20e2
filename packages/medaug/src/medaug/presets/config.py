"""Chains as plain data: what JSON and YAML hold, and back."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from medaug.compose import Compose
from medaug.errors import AugmentationError
from medaug.presets.catalogue import did_you_mean, find_type


def to_config(chain: Any) -> dict[str, Any]:
    """Write a chain as plain types.

    Every option is written, defaults too, so that a config says the same after a default has changed.

    Args:
        chain: a `Compose`, or any transform or view of medaug (frozen dataclasses).

    Returns:
        `{"type": "Compose", "transforms": [{"type": "Flip", "axes": [-1], "p": 0.5}, …]}` of dict, list, str, int, float, bool and None;
        `json.dumps` and `yaml.safe_dump` take it.

    Raises:
        AugmentationError: for an option that plain types cannot hold, as a function or a transform of another library.
    """
    if not dataclasses.is_dataclass(chain) or isinstance(chain, type):
        raise AugmentationError(
            type(chain).__name__, "is no frozen dataclass, so it cannot be written; keep it out of chains that must be saved"
        )
    name = type(chain).__name__
    options = {field.name: getattr(chain, field.name) for field in dataclasses.fields(chain) if field.init}
    return {"type": name} | {key: _plain(name, key, value) for key, value in options.items()}


def from_config(config: Mapping[str, Any], types: Iterable[type] = ()) -> Compose:
    """Build the chain that `to_config` wrote, or that someone wrote by hand; options left out take their defaults.

    Args:
        config: `{"type": "Compose", "transforms": […]}`; lists stand for tuples.
        types: classes of your own that the config names.

    Raises:
        AugmentationError: for an unknown type or option, with the name that is near; for values that the transform refuses; for no `Compose` on top
            (`build` reads views and single transforms).
    """
    chain = build(config, types)
    if not isinstance(chain, Compose):
        raise AugmentationError("config", f"describes a {type(chain).__name__}, not a Compose; read it by `build`")
    return chain


def build(config: Mapping[str, Any], types: Iterable[type] = ()) -> Any:
    """Build whatever a config describes: a chain, a transform, a view.

    Args:
        config: as of `from_config`.
        types: classes of your own that the config names.

    Raises:
        AugmentationError: see `from_config`.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("type"), str):
        raise AugmentationError("config", f"needs a `type` that names a transform, got {config!r}")
    types = tuple(types)
    name = config["type"]
    cls = find_type(name, types)
    known = [field.name for field in dataclasses.fields(cls) if field.init]
    for key in config:
        if key != "type" and key not in known:
            raise AugmentationError(name, f"has no option {key!r}{did_you_mean(str(key), known)}; it has {', '.join(known)}")
    options = {key: _read(value, types) for key, value in config.items() if key != "type"}
    try:
        return cls(**options)
    except AugmentationError:
        raise
    except (TypeError, ValueError) as error:
        raise AugmentationError(name, f"does not take these options: {error}") from error


def _plain(owner: str, name: str, value: Any) -> Any:
    """An option in plain types."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise AugmentationError(owner, f"{name} is {value}, which JSON cannot hold; give a finite number")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, tuple | list):
        return [_plain(owner, name, each) for each in value]
    if isinstance(value, Mapping):
        if "type" in value or not all(isinstance(key, str) for key in value):
            raise AugmentationError(owner, f"{name} has keys that a config cannot hold; they must be text, and none may be `type`")
        return {key: _plain(owner, name, each) for key, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_config(value)
    raise AugmentationError(
        owner, f"{name} holds a {type(value).__name__}, which a config cannot hold; use numbers, text, tuples or transforms"
    )


def _read(value: Any, types: tuple[type, ...]) -> Any:
    """An option from plain types."""
    if isinstance(value, Mapping):
        return build(value, types) if "type" in value else {key: _read(each, types) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_read(each, types) for each in value)
    return value
