"""Find medaug's transforms by name, for configs that hold names."""

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache

import medaug
from medaug.errors import AugmentationError

# Modules that only users of an extra, or the command line, import.
_APART = ("medaug.adapters", "medaug.presets", "medaug.show", "medaug.kernels")


def find_type(name: str, extra: Iterable[type] = ()) -> type:
    """Give the class that a config names.

    Args:
        name: of a transform, a chain or a view of medaug, e.g. "Affine".
        extra: classes of your own that configs may name too; they come first.

    Raises:
        AugmentationError: for an unknown name; says which one is near.
    """
    known = {**_types(), **{cls.__name__: cls for cls in extra}}
    if name not in known:
        raise AugmentationError(name, f"is no transform of medaug{did_you_mean(name, known)}; classes of your own go in `types`")
    return known[name]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Make the end of an error: ", did you mean …?", or nothing where no name is near."""
    names = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f", did you mean {names[near[0]]!r}?" if near else ""


@cache
def _types() -> dict[str, type]:
    """Every public frozen dataclass of the package by its name."""
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(medaug.__path__, "medaug."):
        if module.name.startswith(_APART) or module.name.endswith(".__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, type) and value.__module__ == module.name and dataclasses.is_dataclass(value) and not name.startswith("_"):
                if name in found:
                    raise AugmentationError(name, f"is defined in {found[name].__module__} and in {module.name}; rename one")
                found[name] = value
    return found
