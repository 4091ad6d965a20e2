"""Models by name: create, list, and register your own."""

import difflib
import inspect
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from medmodels.cards import EncoderCard
from medmodels.contracts import Backbone
from medmodels.errors import ModelError, UnknownModelError
from medmodels.loading import load_weights

Builder = Callable[..., Backbone]
_B = TypeVar("_B", bound=Builder)

_BUILDERS: dict[str, Builder] = {}


def register_model(builder: _B) -> _B:
    """Make a model known under its function's name; a decorator.

    Other distributions register theirs with an entry point in the group `medmodels.models`: the entry's name is the model's,
    its value the builder.

    Args:
        builder: a function `(*, spatial_dims, in_channels=1, ...) -> Backbone` whose further arguments are plain JSON values.

    Returns:
        The builder itself.

    Raises:
        UnknownModelError: where another builder has that name.
    """
    _register(getattr(builder, "__name__", ""), builder)
    return builder


def list_models(pattern: str = "*") -> list[str]:
    """Names of all models that match a glob pattern such as `vit_*`, sorted."""
    return [name for name in _names() if fnmatchcase(name, pattern)]


def create_model(name: str, *, spatial_dims: int, in_channels: int = 1, pretrained: Path | str | None = None, **kwargs: Any) -> Backbone:
    """Build an encoder; its random weights depend on torch's seed alone.

    Args:
        name: one of `list_models()`.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        pretrained: folder of an artifact whose encoder to load, see `load_encoder`; None starts from random weights.
        kwargs: the model's own arguments, plain JSON values.

    Returns:
        A `Backbone`, an `nn.Module` in training mode that carries its `card`.

    Raises:
        UnknownModelError: for a name that nobody registered.
        ModelError: for an argument that the model does not take or a value that it refuses.
    """
    builder = _find(name)
    if builder is None:
        raise UnknownModelError(f"no model {name!r}{_did_you_mean(name, _names())}; list_models() names them all")
    if spatial_dims not in (2, 3):
        raise ModelError(f"{name}: spatial_dims must be 2 or 3, got {spatial_dims}")
    if in_channels < 1:
        raise ModelError(f"{name}: in_channels must be at least 1, got {in_channels}")
    known = inspect.signature(builder).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
        for argument in kwargs:
            if argument not in known:
                raise ModelError(
                    f"{name} takes no argument {argument!r}{_did_you_mean(argument, list(known))}; it takes {', '.join(known)}"
                )
    model = builder(spatial_dims=spatial_dims, in_channels=in_channels, **kwargs)
    model.card = EncoderCard(arch=name, kwargs={"spatial_dims": spatial_dims, "in_channels": in_channels, **kwargs})
    if pretrained is not None:
        load_weights(pretrained, model)
    return model


def _installed() -> Iterable[EntryPoint]:
    """Entry points by which installed distributions offer models."""
    return entry_points(group="medmodels.models")


def _names() -> list[str]:
    return sorted({*_BUILDERS, *(entry.name for entry in _installed())})


def _find(name: str) -> Builder | None:
    """The builder of a name, its entry point loaded only now; None for a name that nobody offers."""
    for entry in _installed():
        if entry.name == name:
            try:
                builder = entry.load()
            except (ImportError, AttributeError) as error:
                raise UnknownModelError(
                    f"model {name!r} is offered by {entry.value}, which cannot be loaded ({error}); reinstall or remove it"
                ) from error
            _register(name, builder)
    return _BUILDERS.get(name)


def _register(name: str, builder: Builder) -> None:
    taken = _BUILDERS.get(name)
    if taken is not None and taken is not builder:
        raise UnknownModelError(f"model {name!r} is registered already by {taken.__module__}; rename the one in {builder.__module__}")
    _BUILDERS[name] = builder


def _did_you_mean(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3)
    return f", did you mean {' or '.join(near)}?" if near else ""
