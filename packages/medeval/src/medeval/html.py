"""The report: one self-contained page. Every text is escaped; nothing is fetched, and the page's own policy forbids it."""

import base64
import html
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medeval.bootstrap import Estimate
from medeval.evaluation import Evaluation
from medeval.plots import distribution_plot, interval_plot, probability_plot, reliability_plot, roc_plot
from medeval.segmentation import EMPTIES
from medeval.style import CSS

WORST = 10  # cases listed


class Metric(NamedTuple):
    """How a figure is shown."""

    label: str
    unit: str
    decimals: int
    better: str
    definition: str


METRICS = {
    "dice": Metric("Dice", "", 3, "higher", "2|P∩R| / (|P|+|R|), mean over cases, then over classes."),
    "nsd": Metric(
        "NSD",
        "",
        3,
        "higher",
        "Share of both surfaces within {tolerance_mm:g} mm of the other; surface voxels (a face neighbour in the background) counted alike.",
    ),
    "hd95_mm": Metric("HD95", "mm", 2, "lower", "Larger of the two directed 95th percentiles of the distances between surface voxels."),
    "auroc": Metric(
        "AUROC",
        "",
        3,
        "higher",
        "Probability that a positive case scores above a negative one, ties half; mean over the classes that can be ranked.",
    ),
    "average_precision": Metric(
        "Average precision", "", 3, "higher", "Mean precision over the recall gained; chance reaches the share of positives."
    ),
    "ece": Metric(
        "ECE of P(y=1)",
        "",
        3,
        "lower",
        "Mean gap between promised and observed share over {bins} equal-width bins of the positive class's probability.",
    ),
    "brier": Metric("Brier score", "", 3, "lower", "Mean squared difference between probability and outcome."),
}
EMPTY_RULES = {
    "both_empty": "Prediction and reference both empty: undefined, outside the means, counted here.",
    "missed": "Prediction empty, reference not: Dice 0, NSD 0, HD95 the image's diagonal; stays in every mean.",
    "hallucinated": "Reference empty, prediction not: Dice 0, NSD 0, HD95 the image's diagonal; stays in every mean.",
}


def write_page(
    evaluation: Evaluation,
    path: Path,
    *,
    title: str,
    figures: Sequence[tuple[str, bytes]],
    facts: Mapping[str, str],
    tables: Mapping[str, Sequence[Mapping[str, object]]],
) -> Path:
    """Write the page of an evaluation atomically; see `Evaluation.to_html`."""
    sections = [
        _headline(evaluation),
        *(_section(caption, "", _table(caption, rows, hide_caption=True)) for caption, rows in tables.items()),
        _classes(evaluation),
        _cases(evaluation) if evaluation.task == "segmentation" else _curves(evaluation),
        _slices(evaluation),
        _worst(evaluation),
        _pictures(figures),
        _empties(evaluation),
        _absent(evaluation),
        _method(evaluation),
        _section("Provenance", "", _facts(facts)) if facts else "",
    ]
    cases, patients = len(evaluation.cases), len(set(evaluation.patients))
    lead = f"{evaluation.task.capitalize()} · {cases} case{'s' * (cases != 1)} of {patients} patient{'s' * (patients != 1)} · {len(evaluation.classes)} class{'es' * (len(evaluation.classes) != 1)}"
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{_text(title)}</title>
<style>{CSS}</style>
</head>
<body>
<header><div><h1>{_text(title)}</h1><p class="lead">{_text(lead)}</p></div></header>
<main>
{"".join(sections)}
</main>
</body>
</html>
"""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        draft.write(page)
    Path(draft.name).chmod(0o644)
    return Path(draft.name).replace(path)


def _headline(evaluation: Evaluation) -> str:
    cards = []
    for name, metric in METRICS.items():
        estimate = evaluation.estimates.get(name)
        if estimate is None:
            continue
        unit = f" <small>{metric.unit}</small>" if metric.unit else ""
        cards.append(
            f'<div class="card"><div class="name">{_text(metric.label)} <span aria-hidden="true">{"↑" if metric.better == "higher" else "↓"}</span></div>'
            f'<div class="value">{estimate.value:.{metric.decimals}f}{unit}</div>'
            f'<div class="range">{estimate.low:.{metric.decimals}f} to {estimate.high:.{metric.decimals}f}</div>'
            f'<div class="note">n = {estimate.n} cases, {metric.better} is better</div></div>'
        )
    level = f"{evaluation.settings['level']:.0%}"
    note = f"Mean over classes, with {level} intervals from {evaluation.settings['samples']} resamples of patients."
    missed = [f"{evaluation.empties[rule]} {rule}" for rule in ("missed", "hallucinated") if evaluation.empties.get(rule)]
    warning = (
        f'<p class="warn">Structures with an empty mask on one side, scored as the worst there is: {_text(", ".join(missed))}.</p>'
        if missed
        else ""
    )
    return _section("Headline", note, f'<div class="cards">{"".join(cards)}</div>{warning}')


def _classes(evaluation: Evaluation) -> str:
    metrics = [name for name in METRICS if any(f"{name}/{c}" in evaluation.estimates for c in evaluation.classes)]
    rows = [
        {
            "class": c,
            **{_axis(m): evaluation.estimates.get(f"{m}/{c}") for m in metrics},
            "n": _entered(evaluation.estimates, c, metrics),
        }
        for c in evaluation.classes
    ]
    plots = []
    for m in metrics:
        found = [(c, evaluation.estimates[f"{m}/{c}"]) for c in evaluation.classes if f"{m}/{c}" in evaluation.estimates]
        label = _axis(m)
        alt = f"{label} by class: " + "; ".join(f"{c} {_plain(e, METRICS[m].decimals)}" for c, e in found)
        plots.append(_image(interval_plot(found, label, unit_range=m not in ("hd95_mm", "ece", "brier")), alt))
    decimals = {_axis(m): METRICS[m].decimals for m in metrics}
    return _section(
        "By class", "", _table("Every class with its interval", rows, decimals) + f'<div class="plots wide">{"".join(plots)}</div>'
    )


def _cases(evaluation: Evaluation) -> str:
    plots = []
    for m in ("dice", "nsd", "hd95_mm"):
        columns = {}
        for c in evaluation.classes:
            values = [float(row[f"{m}/{c}"]) for row in evaluation.cases if row[f"{m}/{c}"] is not None]
            if values:
                columns[c] = values
        if columns:
            alt = f"{_axis(m)} of every case: " + "; ".join(f"{c} from {min(v):.3f} to {max(v):.3f}" for c, v in columns.items())
            plots.append(_image(distribution_plot(columns, _axis(m), unit_range=m != "hd95_mm"), alt))
    note = "A dot is a case; the bar spans the middle half of the cases, the line is the median."
    return _section("Case by case", note, f'<div class="plots wide">{"".join(plots)}</div>')


def _curves(evaluation: Evaluation) -> str:
    parts = []
    for c, curves in evaluation.curves.items():
        rows = [row for row in evaluation.cases if row[f"label/{c}"] is not None]
        positive = [float(row[f"probability/{c}"]) for row in rows if row[f"label/{c}"] == 1]
        negative = [float(row[f"probability/{c}"]) for row in rows if row[f"label/{c}"] == 0]
        panels = []
        if "roc" in curves and f"auroc/{c}" in evaluation.estimates:
            area = _plain(evaluation.estimates[f"auroc/{c}"], 3)
            panels.append(_image(roc_plot(curves["roc"]), f"ROC curve of {c}, AUROC {area}", f"ROC, AUROC {area}"))
        error = _plain(evaluation.estimates[f"ece/{c}"], 3)
        panels.append(
            _image(
                reliability_plot(curves["reliability"]), f"Reliability diagram of {c}, ECE {error}", f"Reliability, ECE of P(y=1) {error}"
            )
        )
        spread = f"Probabilities of {c}: {len(positive)} cases with, {len(negative)} without the finding"
        panels.append(_image(probability_plot(positive, negative), spread, "Predicted probabilities by true label"))
        parts.append(f'<h3>{_text(c)}</h3><div class="panels">{"".join(panels)}</div>')
    return _section("Curves", "Dots of the reliability diagram grow with the cases in their bin.", "".join(parts))


def _slices(evaluation: Evaluation) -> str:
    body = ""
    for group, values in evaluation.slices.items():
        names = [m for m in METRICS if any(m in found for found in values.values())]
        rows = [
            {group: value, **{_axis(m): found.get(m) for m in names}, "n": max(e.n for e in found.values()) if found else 0}
            for value, found in values.items()
        ]
        if rows:
            body += _table(f"By {group}", rows, {_axis(m): METRICS[m].decimals for m in names})
        small = [a for a in evaluation.absent if a.group == group and a.metric == "*"]
        if small:
            named = ", ".join(f"{a.value} ({a.n} cases)" for a in small)
            body += f'<p class="note">Too small to give figures for: {_text(named)}.</p>'
    if not body:
        return ""
    note = "Means over the classes that can be scored in the slice; a slice that lacks a rare class is averaged over fewer."
    return _section("Slices", note, body)


def _worst(evaluation: Evaluation) -> str:
    if evaluation.task == "segmentation":
        ranked = sorted((row for row in evaluation.cases if row["dice"] is not None), key=lambda row: (row["dice"], row["sample_id"]))
        rows: list[dict[str, object]] = [
            {
                "case": row["sample_id"], "patient": row["patient"], "Dice": row["dice"], "NSD": row["nsd"], "HD95 (mm)": row["hd95_mm"],
                "missed": ", ".join(row["missed"]), "hallucinated": ", ".join(row["hallucinated"]),
            }
            for row in ranked[:WORST]
        ]  # fmt: skip
        return _section("Worst cases", "By mean Dice over the classes of the case.", _table("Where to look first", rows, {"HD95 (mm)": 2}))
    ranked = sorted((row for row in evaluation.cases if row["brier"] is not None), key=lambda row: (-row["brier"], row["sample_id"]))
    rows = []
    for row in ranked[:WORST]:
        gaps = {c: abs(row[f"probability/{c}"] - row[f"label/{c}"]) for c in evaluation.classes if row[f"label/{c}"] is not None}
        worst = max(gaps, key=lambda c: gaps[c])
        rows.append(
            {
                "case": row["sample_id"], "patient": row["patient"], "Brier": row["brier"], "furthest off": worst,
                "probability": row[f"probability/{worst}"], "label": row[f"label/{worst}"],
            }
        )  # fmt: skip
    return _section("Worst cases", "By mean Brier score over the known labels of the case.", _table("Where to look first", rows))


def _pictures(figures: Sequence[tuple[str, bytes]]) -> str:
    if not figures:
        return ""
    return _section("Pictures", "", f'<div class="pictures">{"".join(_image(data, caption, caption) for caption, data in figures)}</div>')


def _empties(evaluation: Evaluation) -> str:
    if not evaluation.empties:
        return ""
    rows = [
        {
            "rule": rule.replace("_", " "),
            "all": evaluation.empties[rule],
            **{c: evaluation.empties[f"{rule}/{c}"] for c in evaluation.classes},
        }
        for rule in EMPTIES
    ]
    rules = "".join(f"<dt>{rule.replace('_', ' ')}</dt><dd>{_text(text)}</dd>" for rule, text in EMPTY_RULES.items())
    return _section("Empty masks", "", _table("Structures under each rule", rows) + f"<dl>{rules}</dl>")


def _absent(evaluation: Evaluation) -> str:
    gone = [a for a in evaluation.absent if a.metric != "*"]
    if not gone:
        return ""
    rows = [
        {"figure": a.metric, "where": f"{a.group} = {a.value}" if a.group else "all cases", "cases": a.n, "reason": a.reason} for a in gone
    ]
    body = f"<details><summary>{len(gone)} figures are not given, each with its reason</summary>{_table('Not given', rows)}</details>"
    return _section("What could not be scored", "", body)


def _method(evaluation: Evaluation) -> str:
    settings = evaluation.settings
    shown = [name for name in METRICS if name in evaluation.estimates]
    definitions = "".join(f"<dt>{_text(METRICS[m].label)}</dt><dd>{_text(METRICS[m].definition.format(**settings))}</dd>" for m in shown)
    interval = (
        f"{settings['level']:.0%} percentile bootstrap, {settings['samples']} resamples of whole patients (a patient brings all cases along), seed {settings['seed']}. "
        "With one patient the interval is the whole range of the figure."
    )
    return _section("How these figures are made", "", f"<dl>{definitions}<dt>Intervals</dt><dd>{_text(interval)}</dd></dl>")


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts.items()) + "</dl>"


def _section(heading: str, note: str, body: str) -> str:
    return f"<section><h2>{_text(heading)}</h2>{f'<p class=note>{_text(note)}</p>' if note else ''}{body}</section>\n"


def _table(
    caption: str, rows: Sequence[Mapping[str, object]], decimals: Mapping[str, int] | None = None, *, hide_caption: bool = False
) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    # The first column heads its row; others are set left when they hold text.
    text = {column for column in columns if any(isinstance(row.get(column), str) for row in rows)}
    head = "".join(f'<th scope="col"{" class=text" if column in text else ""}>{_text(column)}</th>' for column in columns)
    body = []
    for row in rows:
        cells = [_cell(row.get(column), (decimals or {}).get(column, 3), first=k == 0) for k, column in enumerate(columns)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(caption)}"><table><caption{" class=heard" if hide_caption else ""}>{_text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(value: object, decimals: int, *, first: bool) -> str:
    if first:
        return f'<th scope="row">{_text("" if value is None else value)}</th>'
    if isinstance(value, Estimate):
        return f'<td>{value.value:.{decimals}f} <span class="range">({value.low:.{decimals}f}–{value.high:.{decimals}f})</span></td>'
    if value is None:
        return '<td><span class="range">not given</span></td>'
    if isinstance(value, float):
        return f"<td>{value:.{decimals}f}</td>"
    if isinstance(value, int):
        return f"<td>{value}</td>"
    return f'<td class="text">{_text(value)}</td>'


def _entered(estimates: Mapping[str, Estimate], c: str, metrics: Sequence[str]) -> int:
    return max((estimates[f"{m}/{c}"].n for m in metrics if f"{m}/{c}" in estimates), default=0)


def _axis(metric: str) -> str:
    shown = METRICS[metric]
    return f"{shown.label} ({shown.unit})" if shown.unit else shown.label


def _plain(estimate: Estimate, decimals: int) -> str:
    return f"{estimate.value:.{decimals}f} ({estimate.low:.{decimals}f} to {estimate.high:.{decimals}f})"


def _image(data: bytes, alt: str, caption: str = "") -> str:
    encoded = base64.b64encode(data).decode("ascii")
    below = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/png;base64,{encoded}" alt="{_text(alt)}">{below}</figure>'


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
