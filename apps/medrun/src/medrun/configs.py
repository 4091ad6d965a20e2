"""Config dataclasses on a Hydra command line: their keys, their structured config, and the way back to the frozen dataclass."""

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import MISSING as OMEGA_MISSING

from medrun.errors import ConfigError

T = TypeVar("T")


def option(default: Any = MISSING, help: str = "") -> Any:
    """Declare a field of a config with its default (none: the user must give it) and its line in `--help`."""
    return field(default=default, metadata={"help": help})


def choice(options: Mapping[str, type], default: str, help: str = "") -> Any:
    """Declare a field whose settings depend on a name: `source=folder source.path=DIR`.

    Args:
        options: a config dataclass for each name; the field's value will be an instance of the chosen one.
        default: the name taken where the user gives none.
        help: line in `--help`.
    """
    return field(default_factory=options[default], metadata={"help": help, "choices": dict(options), "choice": default})


@dataclass(frozen=True)
class Key:
    """One setting of a command.

    Attributes:
        name: dotted, e.g. `engine.lr`.
        default: its default as typed on the command line; empty where the user must give it.
        help: one line.
        required: True where there is no default.
        under: (group, name) where the key exists only under that choice.
        open: True where any key below is allowed (a mapping).
        branch: True where settings lie below.
    """

    name: str
    default: str
    help: str = ""
    required: bool = False
    under: tuple[str, str] | None = None
    open: bool = False
    branch: bool = False


def keys_of(config_class: type, prefix: str = "", under: tuple[str, str] | None = None, default: Any = None) -> list[Key]:
    """List all settings of a config dataclass, nested ones with dots, in the order they are declared."""
    hints = get_type_hints(config_class)
    found: list[Key] = []
    for item in fields(config_class):
        name = prefix + item.name
        value = getattr(default, item.name) if default is not None else _default(item)
        text = str(item.metadata.get("help", ""))
        choices: Mapping[str, type] | None = item.metadata.get("choices")
        if choices is not None:
            named = f"{text} ({' | '.join(choices)})".strip()
            found.append(Key(name, item.metadata["choice"], named, under=under, branch=True))
            for chosen, kind in choices.items():
                found += keys_of(kind, f"{name}.", (name, chosen))
        elif is_dataclass(inner := _plain(hints[item.name])):
            assert isinstance(inner, type)
            found.append(Key(name, "", text, under=under, branch=True))
            found += keys_of(inner, f"{name}.", under, None if value is MISSING else value)
        else:
            kind = _plain(hints[item.name])
            if get_origin(kind) is Literal and " | " not in text:
                text = f"{text} ({' | '.join(str(v) for v in get_args(kind))})".strip()
            mapping = get_origin(kind) in (dict, Mapping) or kind is dict
            found.append(Key(name, "" if value is MISSING else shown(value), text, value is MISSING, under, open=mapping))
    return found


def structured(config_class: type, default: Any = None) -> type:
    """Make the mutable twin that OmegaConf can merge into (a frozen dataclass would be read-only), with types it knows."""
    hints = get_type_hints(config_class)
    members: list[tuple[str, Any, Any]] = []
    defaults: list[Any] = ["_self_"]
    for item in fields(config_class):
        value = getattr(default, item.name) if default is not None else _default(item)
        if "choices" in item.metadata:
            defaults.append({item.name: item.metadata["choice"]})
            members.append((item.name, Any, field(default=OMEGA_MISSING)))
            continue
        inner = _plain(hints[item.name])
        if is_dataclass(inner):
            assert isinstance(inner, type)
            if any("choices" in part.metadata for part in fields(inner)):
                raise TypeError(f"{config_class.__name__}.{item.name}: a choice must be declared at the top level of a config")
            twin = structured(inner, None if value is MISSING else value)
            members.append((item.name, twin, field(default_factory=twin)))
            continue
        plain = OMEGA_MISSING if value is MISSING else to_plain(value)
        members.append((item.name, _omega_type(hints[item.name]), field(default_factory=_constant(plain))))
    if len(defaults) > 1:
        members.append(("defaults", list[Any], field(default_factory=_constant(defaults))))
    return make_dataclass(f"{config_class.__name__}Twin", members)


def build(config_class: type[T], values: Mapping[str, Any], choices: Mapping[str, str], prefix: str = "") -> T:
    """Make the config dataclass from composed values.

    Raises:
        ConfigError: for a value outside its choices or one that the dataclass itself rejects; names the key.
    """
    hints = get_type_hints(config_class)
    arguments: dict[str, Any] = {}
    for item in fields(config_class):  # type: ignore[arg-type]
        name, value = prefix + item.name, values[item.name]
        options: Mapping[str, type] | None = item.metadata.get("choices")
        arguments[item.name] = (
            build(options[choices[name]], value, choices, f"{name}.")
            if options is not None
            else _convert(hints[item.name], value, name, choices)
        )
    try:
        return config_class(**arguments)
    except ValueError as error:
        raise ConfigError(f"{prefix.rstrip('.')}: {error}" if prefix else str(error)) from error


def to_plain(value: Any) -> Any:
    """Reduce a config value to what YAML and JSON hold."""
    if is_dataclass(value) and not isinstance(value, type):
        plain = {item.name: to_plain(getattr(value, item.name)) for item in fields(value)}
        for item in fields(value):  # say which of its options a choice took
            taken = [n for n, kind in item.metadata.get("choices", {}).items() if type(getattr(value, item.name)) is kind]
            plain |= {item.name: {"choice": taken[0], **plain[item.name]}} if taken else {}
        return plain
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.name
    return str(value) if isinstance(value, Path) else value


def shown(value: Any) -> str:
    """Write a value as it is typed on the command line."""
    plain = to_plain(value)
    if plain is None:
        return "null"
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, list):
        return f"[{','.join(shown(v) for v in plain)}]"
    if isinstance(plain, dict):
        return "{" + ",".join(f"{k}:{shown(v)}" for k, v in plain.items()) + "}"
    return "''" if plain == "" else str(plain)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word as the end of a message; empty where none is near."""
    options = list(known)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.55)
    if not near:  # the last part may have been typed without its group: lr for engine.lr
        near = [o for o in options if o.rpartition(".")[2] == word.rpartition(".")[2]][:1]
    return f"; did you mean {near[0]}?" if near else ""


def _default(item: Any) -> Any:
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING and "choices" not in item.metadata else MISSING


def _constant(value: Any) -> Any:
    return lambda: value


def _plain(hint: Any) -> Any:
    """Strip `| None`."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [a for a in get_args(hint) if a is not type(None)]
        return inner[0] if len(inner) == 1 else hint
    return hint


def _omega_type(hint: Any) -> Any:
    """Map a type to one that OmegaConf checks; what it does not know is Any here and checked by `_convert`."""
    inner = _plain(hint)
    optional = inner is not hint
    origin = get_origin(inner)
    if origin is Literal:
        kinds = {type(v) for v in get_args(inner)}
        known: Any = kinds.pop() if len(kinds) == 1 else Any
    elif origin in (tuple, list, Sequence):
        parts = {a for a in get_args(inner) if a is not Ellipsis}
        part = parts.pop() if len(parts) == 1 else Any
        known = list[part] if part in (int, float, str, bool) else list[Any]  # type: ignore[valid-type]
    elif inner in (int, float, str, bool, Path) or (isinstance(inner, type) and issubclass(inner, Enum)):
        known = inner
    else:
        return Any
    return Union[known, None] if optional else known  # noqa: UP007 - a runtime type


def _convert(hint: Any, value: Any, name: str, choices: Mapping[str, str]) -> Any:
    inner = _plain(hint)
    if value is None and inner is not hint:
        return None
    origin = get_origin(inner)
    if is_dataclass(inner):
        assert isinstance(inner, type)
        return build(inner, value, choices, f"{name}.")
    if origin is Literal and value not in get_args(inner):
        options = [str(v) for v in get_args(inner)]
        raise ConfigError(f"{name} must be one of {', '.join(options)}, got {value!r}{did_you_mean(str(value), options)}")
    if origin is tuple:
        parts = get_args(inner)
        if value is None:
            raise ConfigError(f"{name} needs a list like {name}=[1,2], got null")
        if parts[-1] is not Ellipsis and len(parts) != len(value):
            raise ConfigError(f"{name} needs {len(parts)} values like {name}=[1,2], got {len(value)}")
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
        return tuple(_convert(kind, v, name, choices) for kind, v in zip(kinds, value, strict=True))
    return Path(value) if inner is Path else value


def fingerprint_values(config: Any) -> dict[str, Any]:
    """Flatten a dataclass to dotted keys and plain values, to compare two runs."""
    flat: dict[str, Any] = {}

    def walk(value: Any, prefix: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{prefix}.{key}" if prefix else str(key))
        else:
            flat[prefix] = value

    walk(to_plain(config), "")
    return flat
