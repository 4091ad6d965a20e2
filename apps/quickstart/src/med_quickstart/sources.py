"""From where the images are to a dataset of shards: find, index, de-identify, build. Broken files are set aside and counted."""

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from med_quickstart.stages import StageResult, write_json
from medio import MedioError, MissingFileError, Policy, build_shards, deidentify_files, scan, split_patients
from medio.recipes import FilmItem, FilmRecipe, VolumeItem, VolumeRecipe, find_films, find_volumes
from medphantom import make_patient, write_dicom
from medrun.cli import UserError, progress, say

Rows = list[dict[str, Any]]

_THORAX_MM = (288.0, 336.0, 384.0)  # z, y, x: what a scan of the phantom covers


def make_phantoms(folder: Path, *, first: int, count: int, seed: int, spacing_mm: float) -> StageResult:
    """Write synthetic patients as `images/CASE/*.dcm` with `labels/CASE.nii.gz`: the layout of any folder of volumes."""
    classes: Sequence[str] = ()
    depth, height, width = (round(extent / spacing_mm) for extent in _THORAX_MM)
    with progress(count, "phantom patients") as advance:
        for index in range(first, first + count):
            patient = make_patient(seed, index, spacing_mm=(spacing_mm, spacing_mm, spacing_mm), shape=(depth, height, width))
            classes = patient.classes
            images = folder / "images" / patient.patient_id
            if not images.is_dir():
                # A patient counts when its folder of images is in place, which is moved there last and whole.
                study = write_dicom(patient, folder / "studies")
                moves = [(study.labels, folder / "labels" / f"{patient.patient_id}.nii.gz"), (study.ct[0].parent, images)]
                if study.radiograph is not None:
                    moves.insert(0, (study.radiograph, folder / "films" / f"{patient.patient_id}.dcm"))
                for made, place in moves:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    made.replace(place)
            advance()
    shutil.rmtree(folder / "studies", ignore_errors=True)
    write_json(folder / "dataset.json", {"labels": {str(number): name for number, name in enumerate(classes)}})
    return {"path": str(folder), "patients": count, "classes": list(classes)}


def listing(root: Path) -> Rows:
    """Name, size and time of every file below a folder: a changed file makes a new dataset."""
    if not root.is_dir():
        return []
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return [{"name": p.relative_to(root).as_posix(), "size": (s := p.stat()).st_size, "mtime": s.st_mtime_ns} for p in files]


def index_volumes(root: Path, folder: Path) -> StageResult:
    """Pair images with labels; where images are DICOM, index their headers to a Parquet table."""
    found = find_volumes(root)
    set_aside = [{"item": q.item, "reason": q.reason} for q in found.set_aside]
    cases: Rows = [{"case_id": c.case_id, "image": str(c.image), "label": str(c.label), "dicom": c.dicom} for c in found.cases]
    if any(c["dicom"] for c in cases):
        with progress(None, "DICOM headers") as advance:
            table = scan(root / "images", progress=lambda done, total: advance(1))
        pq.write_table(table, folder / "index.parquet")
        patients = {
            Path(row["path"]).parent: row["patient_id"] for row in table.select(["path", "patient_id"]).to_pylist() if row["patient_id"]
        }
        # The split goes by the patient that the source names, so that it does not depend on the key of the pseudonyms.
        cases = [{**c, "split_by": patients.get(Path(str(c["image"])), c["case_id"])} for c in cases]
        set_aside += [
            {"item": row["path"], "reason": row["error"]}
            for row in table.select(["path", "error"]).to_pylist()
            if row["error"] and not row["path"].endswith(".nii.gz")
        ]
    return {"cases": cases, "classes": [found.class_names[i] for i in sorted(found.class_names)], "set_aside": set_aside}


def deidentify_cases(cases: Rows, folder: Path, *, key: Callable[[], str]) -> StageResult:
    """De-identify the DICOM cases; NIfTI carries no header of the patient's and passes through."""
    set_aside: Rows = []
    kept: Rows = []
    with progress(len(cases), "de-identified cases") as advance:
        for case in cases:
            if not case["dicom"]:
                kept.append({**case, "patient_id": case["case_id"]})
                advance()
                continue
            files = sorted(p for p in Path(case["image"]).rglob("*") if p.is_file())
            report = deidentify_files(files, folder / case["case_id"], Policy(key=key()))
            set_aside += [{"item": q.item, "reason": q.reason} for q in report.quarantined]
            if report.written:
                row = scan(folder / case["case_id"]).to_pylist()[0]
                kept.append(
                    {
                        **case,
                        "image": str(report.written[0].parent),
                        "patient_id": row["patient_id"],
                        "vendor": row["manufacturer"] or "",
                        "study_date": row["study_date"] or "",
                    }
                )
            advance()
    if not kept:
        raise UserError(_nothing_left(set_aside))
    return {"cases": kept, "set_aside": set_aside}


def pseudonym_key(root: Path, *, seed: int, synthetic: bool) -> str:
    """The secret behind pseudonyms and date shifts: drawn once and kept in the run folder; for synthetic patients, who have no secret, made from the seed."""
    if synthetic:
        return f"synthetic patients of seed {seed}"
    path = root / "deidentification.key"
    if not path.is_file():
        partial = path.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(32))
        partial.replace(path)
    return path.read_text()


@dataclass(frozen=True)
class Shares:
    """How patients are divided; the rest trains."""

    val: float
    test: float

    def split(self, patients: Sequence[str], seed: int) -> dict[str, str]:
        """Split by patient: `train`, `val`, `test`."""
        try:
            return split_patients(patients, {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}, seed)
        except ValueError as error:
            raise UserError(f"{error}; at least three patients with usable images are needed") from error


def build_volumes(cases: Rows, folder: Path, *, shares: Shares, seed: int, classes: Sequence[str], strict: bool) -> StageResult:
    """Read every case once to learn its geometry and classes, plan a common spacing, and build the shards."""
    set_aside: Rows = []
    usable: Rows = []
    spacings: list[tuple[float, ...]] = []
    highest = 0
    with progress(len(cases), "volumes checked") as advance:
        for case in cases:
            try:
                sample = VolumeRecipe()(_volume_item(case, ""))
            except (MedioError, ValueError, OSError) as error:
                if strict:
                    raise
                set_aside.append({"item": case["case_id"], "reason": str(error)})
            else:
                usable.append(case)
                spacings.append(tuple(sample.spacing))
                highest = max(highest, int(sample.arrays["mask"].max()))
            advance()
    if not usable:
        raise UserError(_nothing_left(set_aside))
    names = list(classes) or ["background", *(f"class_{n}" for n in range(1, highest + 1))]
    if len(names) <= highest:
        raise UserError(
            f"the labels hold class {highest}, but only {len(names)} classes are named ({', '.join(names)}); name them all with recipe.classes=[…]"
        )
    if len(names) < 2:
        raise UserError("the labels hold nothing but background; check that they are the right files")
    recipe = VolumeRecipe(spacing_mm=_common_spacing(spacings), classes=len(names))
    split = shares.split([_split_key(c) for c in usable], seed)
    items = [_volume_item(case, split[_split_key(case)]) for case in usable]
    with progress(len(items), "samples in shards") as advance:
        report = build_shards(items, recipe, folder / "dataset", fingerprint=str(recipe), progress=_follow(advance))
    set_aside += [{"item": q.item, "reason": q.reason} for q in report.quarantined]
    return {
        "dataset": str(report.root),
        "version": report.version,
        "samples": report.samples,
        "classes": names,
        "spacing_mm": None if recipe.spacing_mm is None else list(recipe.spacing_mm),
        "set_aside": set_aside,
    }


def index_films(root: Path, *, size: int, table: str, spacing: Sequence[float] | None, min_patients: int) -> StageResult:
    """Join films with their table and choose the findings that enough patients have."""
    found = find_films(root, size=size, table=table, spacing=spacing)
    kept = [name for name, patients in found.findings.items() if patients >= min_patients]
    if not kept:
        raise UserError(
            f"no finding of {found.table} is seen in {min_patients} patients ({dict(found.findings)}); lower recipe.min_patients"
        )
    films = [
        {
            "film_id": f.film_id,
            "path": str(f.path),
            "patient_id": f.patient_id,
            "spacing": list(f.spacing),
            "labels": {name: f.labels[name] for name in kept if name in f.labels},
            "meta": dict(f.meta),
        }
        for f in found.films
    ]
    return {
        "films": films,
        "findings": kept,
        "left_out": {name: patients for name, patients in found.findings.items() if name not in kept},
        "table": str(found.table),
        "set_aside": [{"item": q.item, "reason": q.reason} for q in found.set_aside],
    }


def build_films(films: Rows, folder: Path, *, size: int, shares: Shares, seed: int, strict: bool) -> StageResult:
    """Build the shards of films resized to one square."""
    split = shares.split([f["patient_id"] for f in films], seed)
    items = [
        FilmItem(
            f["film_id"],
            Path(f["path"]),
            f["patient_id"],
            (f["spacing"][0], f["spacing"][1]),
            f["labels"],
            split[f["patient_id"]],
            f["meta"],
        )
        for f in films
    ]
    with progress(len(items), "samples in shards") as advance:
        report = build_shards(items, FilmRecipe(size), folder / "dataset", per_shard=128, fingerprint=str(size), progress=_follow(advance))
    set_aside = [{"item": q.item, "reason": q.reason} for q in report.quarantined]
    if strict and set_aside:
        raise UserError(f"{set_aside[0]['item']}: {set_aside[0]['reason']}")
    if not report.samples:
        raise UserError(_nothing_left(set_aside))
    return {"dataset": str(report.root), "version": report.version, "samples": report.samples, "set_aside": set_aside}


def warn_of(set_aside: Rows) -> None:
    """Tell of the files that were set aside: the count and the first reasons; the summary lists them all."""
    if set_aside:
        say(
            f"      set aside: {len(set_aside)}",
            *(f"      - {row['item']}: {row['reason']}" for row in set_aside[:3]),
            *(["      - …"] if len(set_aside) > 3 else []),
        )


def check_source(root: Path) -> None:
    """Refuse a path that cannot be read, before anything is written.

    Raises:
        MissingFileError: where it is absent or no folder.
    """
    if not root.exists():
        raise MissingFileError(root, "does not exist; give the folder of images with source.path=DIR")
    if not root.is_dir():
        raise MissingFileError(root, "is a file; give the folder of images with source.path=DIR")


def _volume_item(case: Mapping[str, Any], split: str) -> VolumeItem:
    return VolumeItem(
        case["case_id"],
        Path(case["image"]),
        Path(case["label"]),
        case["patient_id"],
        split,
        vendor=case.get("vendor", ""),
        study_date=case.get("study_date", ""),
    )


def _split_key(case: Mapping[str, Any]) -> str:
    """The patient as the source names them; for NIfTI the case."""
    return str(case.get("split_by") or case["patient_id"])


def _common_spacing(spacings: Sequence[tuple[float, ...]]) -> tuple[float, float, float] | None:
    """None where all volumes agree within 1 %; else the median along each axis."""
    columns = [sorted(column) for column in zip(*spacings, strict=True)]
    if all(column[-1] <= 1.01 * column[0] for column in columns):
        return None
    z, y, x = (round(column[len(column) // 2], 4) for column in columns)
    return z, y, x


def _nothing_left(set_aside: Rows) -> str:
    first = set_aside[0] if set_aside else {"item": "the source", "reason": "it holds nothing"}
    return f"no image can be used; the first of {len(set_aside)} set aside: {first['item']}: {first['reason']}"


def _follow(advance: Any) -> Any:
    """Turn (done, total) into steps of a progress bar."""
    seen = 0

    def report(done: int, total: int) -> None:
        nonlocal seen
        advance(done - seen)
        seen = done

    return report
