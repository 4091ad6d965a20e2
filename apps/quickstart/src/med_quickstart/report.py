"""What the run leaves for a reader: the page, `summary.json`, and a table on the screen."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from med_quickstart.config import PhantomSource, QuickstartConfig
from med_quickstart.planning import Plan
from med_quickstart.scoring import pictures_of
from med_quickstart.stages import StageResult, write_json
from medeval import Estimate, Evaluation
from medrun.cli import say, table


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the stages returned, by stage."""

    config: QuickstartConfig
    plan: Plan
    data: Mapping[str, Any]
    encoder: StageResult
    tuned: StageResult
    predicted: StageResult
    exported: StageResult
    registered: StageResult
    fresh: StageResult


def write_report(root: Path, outcome: Outcome, evaluations: Mapping[str, Evaluation], figures: Mapping[str, Estimate]) -> Path:
    """Write `report.html` and `summary.json`; returns the page."""
    plan, model = outcome.plan, evaluations["model"]
    pictures = pictures_of(plan, outcome.data["dataset"], Path(outcome.predicted["predictions"]), model)
    painted = root / "pretrain" / "reconstruction.png"
    if outcome.encoder["encoder"] is not None and painted.is_file():
        pictures.append(("pretraining: an image with its hidden patches painted by the encoder", painted.read_bytes()))
    page = model.to_html(
        root / "report.html", title=_title(outcome), figures=pictures, facts=facts(outcome), tables=_tables(outcome, figures)
    )
    write_json(root / "summary.json", summary(root, outcome, figures, model))
    return page


def summary(root: Path, outcome: Outcome, figures: Mapping[str, Estimate], model: Evaluation) -> dict[str, Any]:
    """Every figure as value, low, high, n under its name; then what they rest on."""
    aside: list[dict[str, str]] = outcome.data["set_aside"]
    considered = outcome.data["samples"] + len(aside)
    found: dict[str, Any] = {name: estimate.to_dict() for name, estimate in figures.items()}
    # Counts and exact measurements have no sampling error: their interval is the value.
    found["quarantined"] = _exact(len(aside), considered)
    found["parity_max_difference"] = _exact(outcome.exported["max_difference"], outcome.exported["cases"])
    if "dice" in outcome.fresh:
        found["fresh_study_dice"] = outcome.fresh["dice"]
    return {
        **found,
        "quarantined_items": aside,
        "figures_absent": model.to_dict()["absent"],
        "empty_masks": dict(model.empties),
        "run": {
            "seed": outcome.config.seed,
            "source": "phantom (synthetic)" if isinstance(outcome.config.source, PhantomSource) else str(outcome.config.source.path),
            "task": outcome.plan.task,
            "classes": list(outcome.plan.classes),
            "findings_left_out": outcome.data.get("left_out", {}),
            "dataset_version": outcome.data["version"],
            "samples": outcome.data["samples"],
            "encoder_matched": outcome.tuned["encoder_matched"],
            "calibration_notes": outcome.tuned["notes"],
        },
        "files": {
            "report": "report.html",
            "plan": "plan.json",
            "model": _relative(outcome.registered["registry"], root),
            "version": f"{outcome.registered['name']}:{outcome.registered['version']}",
            "bundle": _relative(outcome.exported["bundle"], root),
            "study": _relative(outcome.fresh["output"], root),
        },
    }


def show(root: Path, outcome: Outcome, figures: Mapping[str, Estimate], page: Path) -> None:
    """Print the summary table and where the rest lies."""
    headline = "dice" if outcome.plan.task == "segmentation" else "auroc"
    names = [
        name for name in figures if "[" not in name and ("/" not in name or name.endswith("/auroc") or name.startswith(f"{headline}/"))
    ]
    rows: list[tuple[object, ...]] = [(name, f"{(e := figures[name]).value:.3f}", f"{e.low:.3f} to {e.high:.3f}", e.n) for name in names]
    if "dice" in outcome.fresh:
        rows.append(("fresh_study_dice", f"{outcome.fresh['dice']['value']:.3f}", "one study", 1))
    table("Held-out patients", rows, columns=("figure", "value", "95 % interval", "n"))
    aside = len(outcome.data["set_aside"])
    say(
        f"set aside  {aside} of {outcome.data['samples'] + aside} inputs" + (", with reasons in summary.json" if aside else ""),
        f"parity     exported and trained network differ by at most {outcome.exported['max_difference']:.2g}",
        f"model      {outcome.registered['name']}:{outcome.registered['version']} in {root / 'registry'}",
        f"study      {outcome.fresh['output']}",
        f"summary    {root / 'summary.json'}",
        f"report     {page}",
    )


def facts(outcome: Outcome) -> dict[str, str]:
    """Where the figures come from."""
    source, plan = outcome.config.source, outcome.plan
    phantom = isinstance(source, PhantomSource)
    return {
        "images": "SYNTHETIC phantom patients; no figure here says anything about real patients"
        if phantom
        else str(getattr(source, "path", "")),
        "dataset version": str(outcome.data["version"]),
        "samples": str(outcome.data["samples"]),
        "set aside": str(len(outcome.data["set_aside"])),
        "split": f"by patient, seed {outcome.config.seed}",
        "encoder": f"{plan.model}, {plan.pretrain_steps} steps of masked autoencoding, {100 * outcome.tuned['encoder_matched']:.0f} % of its weights matched",
        "fine-tuning": f"{plan.steps} steps of {plan.batch_size}, patch {list(plan.preprocessing.patch_size)}",
        "plan": "; ".join(f"{name}: {why}" for name, why in plan.why.items()),
        "exported": f"ONNX; at most {outcome.exported['max_difference']:.2g} away from the trained network on {outcome.exported['cases']} inputs",
        "registered": f"{outcome.registered['name']}:{outcome.registered['version']}",
        "software": f"med-quickstart {version('med-quickstart')}, torch {torch.__version__}, Python {platform.python_version()}",
    }


def _tables(outcome: Outcome, figures: Mapping[str, Estimate]) -> dict[str, list[Mapping[str, object]]]:
    found: dict[str, list[Mapping[str, object]]] = {}
    floors = [name for name in ("pixels", "view") if f"floor_{name}/auroc" in figures]
    if floors:
        kinds = {"model": "", **{f"floor: {_FLOORS[name]}": f"floor_{name}/" for name in floors}}
        strata = sorted({name[len("auroc") :] for name in figures if name.startswith("auroc[view=")})
        rows: list[Mapping[str, object]] = []
        for stratum in ("", *strata):
            row: dict[str, object] = {"films": stratum.strip("[]") or "all"}
            row.update({kind: figures.get(f"{prefix}auroc{stratum}", "too few") for kind, prefix in kinds.items()})
            rows.append(row)
        found["Macro AUROC beside its floors, by view"] = rows
        found["Above the floors, paired by patient"] = [
            {"floor": _FLOORS[name], "difference in macro AUROC": figures[f"auroc_above_floor_{name}"]}
            for name in floors
            if f"auroc_above_floor_{name}" in figures
        ]
    if outcome.data.get("left_out"):
        found["Findings left out: too few patients"] = [{"finding": name, "patients": n} for name, n in outcome.data["left_out"].items()]
    if outcome.data["set_aside"]:
        found["Set aside"] = [{"item": row["item"], "reason": row["reason"]} for row in outcome.data["set_aside"]]
    return found


def _title(outcome: Outcome) -> str:
    source = outcome.config.source
    where = "synthetic phantom patients" if isinstance(source, PhantomSource) else getattr(source, "path", Path()).resolve().name
    return f"{outcome.plan.task.capitalize()} on {where}"


def _exact(value: float, n: int) -> dict[str, float | int]:
    return {"value": value, "low": value, "high": value, "n": n}


def _relative(path: str, root: Path) -> str:
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


_FLOORS = {"pixels": "logistic regression on 32x32 pixels", "view": "the view alone"}
