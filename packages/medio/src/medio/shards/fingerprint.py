"""A fingerprint of what a shard is built from: equal inputs hash alike in every process, changed ones do not."""

import dataclasses
import functools
import hashlib
import inspect
import json
import pickle
import types
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np


def fingerprint(*parts: Any) -> str:
    """Hash plain values, paths, arrays, dataclasses and functions.

    A `Path` counts with the size and modification time of what it points at, a function with its name, source, defaults and the values it
    closes over (not with what it calls: name those in the `fingerprint` argument of `build_shards`).

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: for a value that cannot be hashed alike in another process.
    """
    return hashlib.sha256(json.dumps(_plain(list(parts)), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Turn a value into JSON that tells it from any other value."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, PurePath):
        return ["path", str(value), *_stat(value)]
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcSU":
        return ["array", value.dtype.str, list(value.shape), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    if isinstance(value, np.generic):
        return ["scalar", value.dtype.str, value.tobytes().hex()]
    if isinstance(value, list | tuple):
        return ["list", *(_plain(v) for v in value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(json.dumps(_plain(v), sort_keys=True) for v in value)]
    if isinstance(value, Mapping):
        return ["map", *sorted(([_plain(k), _plain(v)] for k, v in value.items()), key=lambda pair: json.dumps(pair, sort_keys=True))]
    if isinstance(value, functools.partial):
        return ["partial", _plain(value.func), _plain(value.args), _plain(value.keywords)]
    if isinstance(value, types.MethodType):
        return ["method", _plain(value.__self__), _plain(value.__func__)]
    if isinstance(value, types.FunctionType):
        return ["function", value.__module__, value.__qualname__, _source(value), *_bound(value)]
    if isinstance(value, type | types.BuiltinFunctionType):
        return ["name", value.__module__, value.__qualname__]
    if dataclasses.is_dataclass(value):
        fields = [[f.name, _plain(getattr(value, f.name))] for f in dataclasses.fields(value)]
        return ["dataclass", type(value).__module__, type(value).__qualname__, *fields]
    try:
        return ["pickle", hashlib.sha256(pickle.dumps(value, protocol=5)).hexdigest()]
    except Exception as error:
        raise TypeError(
            f"cannot fingerprint a {type(value).__qualname__} ({error}); give items and recipes made of plain values, paths, arrays or dataclasses"
        ) from error


def _stat(path: PurePath) -> tuple[int, ...]:
    """Size and modification time; nothing where the path leads nowhere."""
    try:
        status = Path(path).stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return str(function.__code__.co_code.hex())  # typed into a shell: no source file


def _bound(function: types.FunctionType) -> tuple[Any, ...]:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return _plain(list(function.__defaults__ or ())), _plain(dict(function.__kwdefaults__ or {})), _plain(cells)
