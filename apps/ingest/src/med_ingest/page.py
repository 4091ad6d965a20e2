"""The page of `med-ingest inspect`: a contact sheet and histograms in one HTML file that fetches nothing."""

import base64
import html
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from med_ingest.summary import Summary
from medeval import overlay
from medeval.overlay import COLOURS
from medeval.style import CSS
from medio import ShardDataset, key_digest
from medio.atomic import replacing

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 520, 210, 40, 26
_BINS = 80
_GROUPS = 6
"""Sites or vendors drawn apart; the rest are drawn together."""


def write_page(dataset: ShardDataset, summary: Summary, path: Path, *, pictures: int) -> Path:
    """Write the page of a dataset.

    The pictures are drawn by a key of the sample's id, so the same dataset shows the same ones. A volume is shown by the slice with most of the mask, else
    by its middle one, in the proportions of the patient.

    Args:
        dataset: of shards; some images of it are read.
        summary: its tables.
        path: the HTML file; replaced whole.
        pictures: most pictures to show.

    Returns:
        The path.
    """
    shown = sorted(range(len(dataset)), key=lambda i: key_digest((0, 0, dataset.sample_ids[i], 0), "inspect"))[:pictures]
    slices = [(i, *_slice(dataset, i)) for i in sorted(shown, key=lambda i: dataset.sample_ids[i])]
    sections = [
        _section("What it holds", _table("", summary.facts)),
        _section("Samples", _table("By split and modality", summary.groups, ("split", "modality", "patients", "samples"))),
        _section("Contact sheet", _sheet(dataset, slices), "Grey from the 0.5 to the 99.5 percentile of the slice; contours are the mask."),
        _section(
            "Intensities",
            _histograms(dataset, slices),
            "Shares of the values in the slices above, by site and vendor: a second hump or a shifted one is another unit or another scanner.",
        ),
        _section(
            "Range of every sample",
            _ranges(dataset),
            "From the index, of every sample: the 0.5 to 99.5 percentile as a line, the mean as a dot. A line far from the others is worth a look.",
        ),
    ]
    if summary.labels:
        sections.append(_section("Labels", _table("", summary.labels, ("label", "known", "positive"))))
    if summary.classes:
        sections.append(_section("Mask classes", _table("", summary.classes, ("class", "samples", "voxels"))))
    if dataset.quarantined:
        rows = [(item, reason) for item, reason in dataset.quarantined[:200]]
        sections.append(
            _section(
                "Set aside", _table("", rows, ("item", "reason")), f"{len(dataset.quarantined)} in all; they are not in any figure above."
            )
        )
    title = f"Dataset {dataset.url.rstrip('/').rpartition('/')[2] or dataset.url}"
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{html.escape(title)}</title>
<style>{CSS} svg text {{ font:11px system-ui,sans-serif; fill:var(--muted); }} svg {{ max-width:100%; height:auto; }} figcaption {{ overflow-wrap:anywhere; }}</style>
</head>
<body>
<header><div><h1>{html.escape(title)}</h1><p class="lead">version {html.escape(dataset.version)}</p></div></header>
<main>
{"".join(sections)}
</main>
</body>
</html>
"""
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _slice(dataset: ShardDataset, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], tuple[float, float]]:
    """Read one slice of a sample: (H, W) values, (H, W) mask, (row, column) spacing in mm."""
    row = dataset.table.slice(index, 1).to_pylist()[0]
    shapes = {array["name"]: array["shape"] for array in row["arrays"]}
    spacing = row["spacing"]
    shape = shapes["image"][1:]
    masked = "mask" in shapes and list(shapes["mask"]) == list(shape)
    if len(spacing) == 2:
        image = dataset.read(index, "image")[0]
        return image, dataset.read(index, "mask") if masked else np.zeros(shape, np.uint8), (spacing[0], spacing[1])
    z = shape[0] // 2
    if masked:
        mask = dataset.read(index, "mask")
        counts = (mask > 0).sum(axis=(1, 2))
        z = int(counts.argmax()) if counts.any() else z
        mask = mask[z]
    else:
        mask = np.zeros(shape[1:], np.uint8)
    image = dataset.read(index, "image", (slice(0, 1), slice(z, z + 1)))[0, 0]
    return image, mask, (spacing[1], spacing[2])


def _sheet(dataset: ShardDataset, slices: Sequence[tuple[int, npt.NDArray[Any], npt.NDArray[Any], tuple[float, float]]]) -> str:
    cells = []
    for index, image, mask, spacing in slices:
        row = dataset.table.slice(index, 1).to_pylist()[0]
        picture = base64.b64encode(overlay(image, mask, spacing=spacing, pixels=230)).decode()
        facts = " · ".join(str(part) for part in (row["modality"], row["split"], row["site"] or row["vendor"]) if part)
        name = html.escape(str(row["sample_id"]))
        cells.append(
            f'<figure><img src="data:image/png;base64,{picture}" alt="A slice of {name}"><figcaption>{name}<br>{html.escape(facts)}</figcaption></figure>'
        )
    return f'<div class="pictures" style="grid-template-columns:repeat(auto-fill,minmax(150px,1fr))">{"".join(cells)}</div>'


def _histograms(dataset: ShardDataset, slices: Sequence[tuple[int, npt.NDArray[Any], npt.NDArray[Any], tuple[float, float]]]) -> str:
    groups = _group_names(dataset)
    values: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)
    for index, image, _, _ in slices:
        values[groups[index]].append(np.asarray(image, np.float64).ravel())
    everything = np.concatenate([part for parts in values.values() for part in parts])
    low, high = (float(v) for v in np.percentile(everything, [0.1, 99.9]))
    high = high if high > low else low + 1
    edges = np.linspace(low, high, _BINS + 1)
    shares = {}
    for name, parts in sorted(values.items()):
        found = np.concatenate(parts)
        shares[name] = np.histogram(np.clip(found, low, high), edges)[0] / len(found)
    top = max(float(share.max()) for share in shares.values()) or 1.0
    marks = []
    for number, (name, share) in enumerate(shares.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{_across(a, low, high):.1f},{_up(s / top):.1f} {_across(b, low, high):.1f},{_up(s / top):.1f}"
            for a, b, s in zip(edges[:-1], edges[1:], share, strict=True)
        )
        marks.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{points}"/>')
        marks.append(
            f'<text x="{_WIDTH - 6}" y="{16 + 14 * number}" text-anchor="end" style="fill:{colour};font-weight:600">{html.escape(name)}</text>'
        )
    units = ", ".join(sorted({str(unit) for unit in dataset.table["unit"].to_pylist() if unit})) or "stored values"
    return _figure("".join(marks), low, high, units, f"Histogram of {len(slices)} slices; highest bin {top:.1%} of its group")


def _ranges(dataset: ShardDataset) -> str:
    groups = _group_names(dataset)
    statistics = dataset.table["statistics"].to_pylist()
    order = sorted(range(len(statistics)), key=lambda i: (groups[i], dataset.sample_ids[i]))
    if len(order) > 400:
        order = [order[i] for i in np.linspace(0, len(order) - 1, 400).round().astype(int)]
    names = sorted(set(groups))
    low = min(s["p0_5"] for s in statistics)
    high = max(s["p99_5"] for s in statistics)
    high = high if high > low else low + 1
    marks = []
    for place, index in enumerate(order):
        colour = COLOURS[names.index(groups[index]) % len(COLOURS)]
        y = 8 + (place + 0.5) * (_HEIGHT - _BOTTOM - 8) / len(order)
        found = statistics[index]
        marks.append(
            f'<g stroke="{colour}" fill="{colour}"><title>{html.escape(str(dataset.sample_ids[index]))}</title>'
            f'<line x1="{_across(found["p0_5"], low, high):.1f}" x2="{_across(found["p99_5"], low, high):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke-width="1.2"/>'
            f'<circle cx="{_across(found["mean"], low, high):.1f}" cy="{y:.1f}" r="1.8" stroke="none"/></g>'
        )
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        marks.append(
            f'<text x="{_WIDTH - 6}" y="{16 + 14 * number}" text-anchor="end" style="fill:{colour};font-weight:600">{html.escape(name)}</text>'
        )
    units = ", ".join(sorted({str(unit) for unit in dataset.table["unit"].to_pylist() if unit})) or "stored values"
    return _figure("".join(marks), low, high, units, f"Range of {len(order)} of {len(statistics)} samples")


def _group_names(dataset: ShardDataset) -> list[str]:
    """Site and vendor of every sample; beyond the most frequent few, `others`."""
    columns = [dataset.table[name].to_pylist() for name in ("site", "vendor")]
    names = [" ".join(part for part in pair if part) or "unknown site" for pair in zip(*columns, strict=True)]
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    kept = set(sorted(counts, key=lambda name: (-counts[name], name))[: _GROUPS if len(counts) <= _GROUPS else _GROUPS - 1])
    return [name if name in kept else "others" for name in names]


def _figure(marks: str, low: float, high: float, unit: str, caption: str) -> str:
    floor = _HEIGHT - _BOTTOM
    axes = (
        f'<path d="M{_LEFT} 8V{floor}H{_WIDTH - 6}" fill="none" stroke="#d1d5db"/>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">{low:.5g}</text><text x="{_WIDTH - 6}" y="{_HEIGHT - 8}" text-anchor="end">{high:.5g}</text>'
        f'<text x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{html.escape(unit)}</text>'
    )
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="{html.escape(caption)}">{axes}{marks}</svg>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _across(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - 6)


def _up(share: float) -> float:
    return 8 + (1 - share) * (_HEIGHT - _BOTTOM - 8)


def _section(title: str, body: str, note: str = "") -> str:
    lead = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{html.escape(title)}</h2>{lead}{body}</section>"


def _table(caption: str, rows: Sequence[Sequence[object]], columns: Sequence[str] = ()) -> str:
    kinds = ["text", *(_kind(cell) for cell in rows[0][1:])] if rows else [""] * len(columns)
    head = "".join(f'<th class="{kind}">{html.escape(name)}</th>' for name, kind in zip(columns, kinds, strict=False))
    lines = "".join(
        f'<tr><th class="text">{html.escape(str(row[0]))}</th>'
        + "".join(f'<td class="{_kind(cell)}">{html.escape(str(cell))}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{title}{f"<thead><tr>{head}</tr></thead>" if head else ""}<tbody>{lines}</tbody></table></div>'


def _kind(cell: object) -> str:
    return "" if isinstance(cell, int | float) else "text"
