"""The page of a run: its curves as SVG in one self-contained HTML file."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 460, 220, 56, 24
_COLOURS = ("#0b62a4", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0f766e")
_HIDDEN = {"step", "epoch", "train/samples_per_s", "seconds"}


def write_page(path: Path, title: str, lines: Sequence[Mapping[str, Any]], facts: Mapping[str, object]) -> Path:
    """Write the page of a run.

    Args:
        path: the HTML file; replaced whole.
        title: of the page.
        lines: of metrics.jsonl; `train/loss` and `val/loss` share a plot named `loss`.
        facts: shown as a table.
    """
    plots: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in _HIDDEN and isinstance(value, int | float):
                split, _, metric = name.rpartition("/")
                plots.setdefault(metric, {}).setdefault(split or "run", []).append((float(line["step"]), float(value)))
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    body = "".join(_plot(name, series) for name, series in plots.items())
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;color:#1f2937}"
        "th{text-align:left;padding-right:1.5rem;font-weight:500;color:#6b7280}figure{display:inline-block;margin:0 1rem 1.5rem 0}"
        "figcaption{font-weight:600}svg text{font:11px system-ui,sans-serif;fill:#6b7280}"
    )
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title><style>{style}</style></head>'
        f"<body><h1>{html.escape(title)}</h1><table>{rows}</table>{body}</body></html>\n"
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
    return path


def _plot(name: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    points = [p for line in series.values() for p in line]
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    wide, high = (x1 - x0) or 1.0, (y1 - y0) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x0) / wide * (_WIDTH - _LEFT - 8)
        return across, 8 + (y1 - y) / high * (_HEIGHT - _BOTTOM - 8)

    marks = ""
    for i, (split, line) in enumerate(series.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        places = [place(x, y) for x, y in line]
        marks += f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
        if len(places) <= 40:
            marks += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}"/>' for x, y in places)
        marks += f'<text x="{_WIDTH - 8}" y="{20 + 14 * i}" text-anchor="end" style="fill:{colour}">{html.escape(split)}</text>'
    floor = _HEIGHT - _BOTTOM
    axes = (
        f'<path d="M{_LEFT} 8V{floor}H{_WIDTH - 8}" fill="none" stroke="#d1d5db"/>'
        f'<text x="{_LEFT - 6}" y="16" text-anchor="end">{y1:.4g}</text><text x="{_LEFT - 6}" y="{floor}" text-anchor="end">{y0:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{x0:g}</text><text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">step {x1:g}</text>'
    )
    return f'<figure><figcaption>{html.escape(name)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}">{axes}{marks}</svg></figure>'
