"""The table that says what each class is, in codes: the user's, never made up."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrun.cli import UserError

if TYPE_CHECKING:
    from medio import Segment

EXAMPLE = '{"nodule": ["27925004", "SCT", "Nodule"]}'


def read_segments(path: Path | None, classes: Sequence[str], bundle: Path) -> "list[Segment]":
    """Read the DICOM segments of a bundle's classes.

    Args:
        path: JSON of class name to [value, scheme, meaning], or to {"code": [...], "category": [...]}.
        classes: of the bundle, background first.
        bundle: for the message.

    Raises:
        UserError: for a missing or unreadable table, or one that lacks a class.
    """
    from medio import Segment

    foreground = list(classes[1:])
    if path is None:
        raise UserError(
            f"{bundle}: a DICOM SEG needs the code of each class ({', '.join(foreground)}); give --codes FILE, a JSON such as {EXAMPLE}, or write .nii.gz"
        )
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; write a JSON such as {EXAMPLE}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not JSON ({error}); write it such as {EXAMPLE}") from error
    if not isinstance(table, dict):
        raise UserError(f"{path}: must map class names to codes, such as {EXAMPLE}")
    missing = [name for name in foreground if name not in table]
    if missing:
        raise UserError(f"{path}: lacks the classes {', '.join(missing)}; it has {', '.join(table) or 'none'}")
    segments = []
    for number, name in enumerate(foreground, start=1):
        try:
            segments.append(Segment(number=number, label=name, **_codes(table[name])))
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(f"{path}: the code of {name} cannot be used ({error}); write it such as {EXAMPLE}") from error
    return segments


def _codes(entry: Any) -> dict[str, Any]:
    if isinstance(entry, dict):
        unknown = set(entry) - {"code", "category"}
        if unknown:
            raise ValueError(f"unknown key {', '.join(sorted(unknown))}")
        return {"code": tuple(entry["code"]), **({"category": tuple(entry["category"])} if "category" in entry else {})}
    if not isinstance(entry, list):
        raise TypeError(f"expected a list of three texts, got {entry!r}")
    return {"code": tuple(entry)}
