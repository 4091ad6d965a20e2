"""The report's plots as PNG bytes. Every figure is an object of its own: no pyplot, no global state, safe in threads."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medeval.bootstrap import Estimate

INK, MUTED, GRID, BLUE, ORANGE = "#1d2b36", "#5b6b77", "#e3e8ec", "#1b6ca8", "#c2541b"
_DPI = 170  # sharp on screens of two device pixels a point


def png(figure: Figure) -> bytes:
    """Render a figure; equal figures give equal bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def interval_plot(rows: Sequence[tuple[str, Estimate]], label: str, *, unit_range: bool) -> bytes:
    """Dots with whiskers, one row a class.

    Args:
        rows: (class, estimate), top to bottom.
        label: of the value axis, with its unit.
        unit_range: whether the axis runs from 0 to 1, so that pages can be compared by eye.

    Returns:
        PNG bytes.
    """
    figure, axes = _axes(5.2, 0.7 + 0.32 * len(rows))
    for y, (_, estimate) in enumerate(rows):
        axes.plot([estimate.low, estimate.high], [y, y], color=BLUE, linewidth=2.2, solid_capstyle="round", alpha=0.45)
        axes.plot([estimate.value], [y], marker="o", markersize=6, color=BLUE)
    axes.set_yticks(range(len(rows)), [_shorten(name) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if unit_range:
        axes.set_xlim(-0.01, 1.01)
    else:
        axes.set_xlim(0, 1.08 * max(estimate.high for _, estimate in rows) or 1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
    return png(figure)


def distribution_plot(columns: Mapping[str, Sequence[float]], label: str, *, unit_range: bool) -> bytes:
    """Every case as a dot, with the quartiles of its class behind.

    Args:
        columns: class -> values of the cases that have one; at least one value each.
        label: of the value axis, with its unit.
        unit_range: whether the axis runs from 0 to 1.

    Returns:
        PNG bytes.
    """
    figure, axes = _axes(5.2, 0.75 + 0.45 * len(columns))
    for y, values in enumerate(columns.values()):
        sorted_values = np.sort(np.asarray(values, dtype=np.float64))
        low, median, high = np.quantile(sorted_values, [0.25, 0.5, 0.75])
        axes.barh(y, high - low, left=low, height=0.56, color=BLUE, alpha=0.14, linewidth=0)
        axes.plot([median, median], [y - 0.28, y + 0.28], color=BLUE, linewidth=2)
        # A fixed, not random, scatter: golden-ratio steps spread neighbours without making a pattern.
        offset = (np.arange(len(sorted_values)) * 0.6180339887 % 1 - 0.5) * 0.44
        axes.scatter(sorted_values, y + offset, s=11, color=INK, alpha=0.55, linewidths=0)
    axes.set_yticks(range(len(columns)), [_shorten(name) for name in columns])
    axes.set_ylim(len(columns) - 0.4, -0.6)
    if unit_range:
        axes.set_xlim(-0.02, 1.02)
    else:
        axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
    return png(figure)


def roc_plot(points: Sequence[Sequence[float]]) -> bytes:
    """One ROC polygon.

    Args:
        points: (false positive rate, true positive rate, threshold) rows.

    Returns:
        PNG bytes.
    """
    figure, axes = _axes(3.3, 3.1)
    curve = np.asarray(points)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(curve[:, 0], curve[:, 1], color=BLUE, alpha=0.10, linewidth=0)
    axes.plot(curve[:, 0], curve[:, 1], color=BLUE, linewidth=2)
    _unit_square(axes, "1 - specificity", "sensitivity")
    return png(figure)


def reliability_plot(bins: Sequence[Sequence[float]]) -> bytes:
    """One reliability diagram: the area of a dot grows with the cases in its bin.

    Args:
        bins: (low, high, mean probability, observed share, n) rows, see `ReliabilityBin`.

    Returns:
        PNG bytes.
    """
    figure, axes = _axes(3.3, 3.1)
    table = np.asarray(bins)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.vlines(table[:, 2], table[:, 2], table[:, 3], color=ORANGE, linewidth=1.2, alpha=0.6)
    axes.plot(table[:, 2], table[:, 3], color=ORANGE, linewidth=1.2, alpha=0.7)
    axes.scatter(table[:, 2], table[:, 3], s=14 + 150 * table[:, 4] / table[:, 4].max(), color=ORANGE, alpha=0.75, linewidths=0, zorder=3)
    _unit_square(axes, "mean predicted probability", "observed share")
    return png(figure)


def probability_plot(positive: Sequence[float], negative: Sequence[float]) -> bytes:
    """Histograms of the predicted probability, by the true label.

    Args:
        positive: probabilities of the cases with the finding.
        negative: of those without.

    Returns:
        PNG bytes.
    """
    figure, axes = _axes(3.3, 3.1)
    edges = np.linspace(0, 1, 21)
    for values, color, name in ((negative, MUTED, "without"), (positive, BLUE, "with")):
        if len(values):
            share = np.histogram(values, edges)[0] / len(values)
            axes.stairs(share, edges, color=color, fill=True, alpha=0.25)
            axes.stairs(share, edges, color=color, linewidth=1.6, label=f"{name} finding (n={len(values)})")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share of cases")
    axes.legend(
        frameon=False, fontsize=8, labelcolor=INK, loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=2, handlelength=1, columnspacing=1
    )
    return png(figure)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(MUTED)
        axis.label.set_fontsize(9)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _unit_square(axes: Axes, x: str, y: str) -> None:
    ticks: Any = np.linspace(0, 1, 6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_aspect("equal")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _shorten(name: str) -> str:
    # A dollar sign would start mathematical text, which user text must never do.
    name = name.replace("$", r"\$")
    return name if len(name) <= 28 else name[:27] + "…"
