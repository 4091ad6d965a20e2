"""metrics.jsonl: one line of figures at a time; a resumed run goes on where its checkpoint was."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """Append-only lines of JSON with a `step`.

    Args:
        path: the file.
        resume_step: lines beyond this step, and a line that a kill cut short, are dropped; 0 begins anew.
    """

    def __init__(self, path: Path, resume_step: int) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = [line for line in read_journal(path) if line["step"] <= resume_step] if resume_step else []
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text("".join(_text(line) for line in self.lines))
        temporary.replace(path)

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line; figures that are not finite become null, since JSON has no NaN."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        self.lines.append(clean)
        with self.path.open("a") as file:
            file.write(_text(clean))


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a metrics.jsonl; none where the file does not exist."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, allow_nan=False) + "\n"
