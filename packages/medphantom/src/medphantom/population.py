"""A population in files: patients of several sites and visits, with the truth of each in one line of `patients.jsonl`."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from medio.atomic import replacing
from medphantom.dicom.record import Record
from medphantom.dicom.writing import Content, Format, VisitFiles, appearing, write_visit
from medphantom.errors import PhantomError
from medphantom.records import make_records
from medphantom.reports.dialogue import dialogue
from medphantom.sites import SITES, Site
from medphantom.study import Labelling

ROWS, PLAN, NOTICE = "patients.jsonl", "population.json", "README.txt"
_TRUTH = "patient.json"
_NOTICE = """SYNTHETIC DATA. No real person, hospital or device is in these files.

Every patient was computed from a seed by medphantom. Names, dates, addresses and numbers are invented, planted so that
de-identification has something to remove; where some were planted, identifiers.json beside each visit lists them. Not for clinical use.

patients.jsonl      one line a patient: person, site, visits, files (below the patient's folder), true findings,
                    reports with their statements
population.json     the options that this folder was made with
PHANTOM-*/          one folder a patient, in it one a visit
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """What to make.

    Attributes:
        seed: names the population; patient `index` of a seed does not depend on how many there are.
        sites: patients are spread over them evenly, at random; each site says how often its patients have what.
        visits: of each patient.
        interval_days: mean time between visits.
        spacing_mm: of every CT (z, y, x); None for each site's own.
        shape: of every CT (D, H, W); None for as many voxels as the thorax needs.
        contents: what to write, of `medphantom.dicom.writing.CONTENTS`.
        format: DICOM, NIfTI, or both.
        labels: `basic` or `full`.
        identifiers: plant invented identifiers in DICOM files.
    """

    seed: int = 0
    sites: tuple[Site, ...] = SITES
    visits: int = 1
    interval_days: int = 180
    spacing_mm: tuple[float, float, float] | None = None
    shape: tuple[int, int, int] | None = None
    contents: tuple[Content, ...] = ("ct", "dx", "seg", "sr")
    format: Format = "dicom"
    labels: Labelling = "basic"
    identifiers: bool = True

    def __post_init__(self) -> None:
        if not self.sites:
            raise PhantomError("Population: sites must name one site or more")
        if self.visits < 1 or self.interval_days < 1:
            raise PhantomError(f"Population: visits and interval_days must be 1 or more, got {self.visits} and {self.interval_days}")
        if self.labels not in ("basic", "full"):
            raise PhantomError(f"Population: labels must be 'basic' or 'full', got {self.labels!r}")
        if self.format not in ("dicom", "nifti", "both"):
            raise PhantomError(f"Population: format must be 'dicom', 'nifti' or 'both', got {self.format!r}")

    def as_json(self) -> str:
        """The options, and the version that understands them, as JSON; the same text for the same options."""
        return json.dumps({"medphantom": version("medphantom"), **asdict(self)}, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationReport:
    """What `make_population` did.

    Attributes:
        folder: where.
        made: patients that this run made.
        kept: patients that an earlier run had made.
        rows: the table of truths.
    """

    folder: Path
    made: int
    kept: int
    rows: Path


def make_population(
    population: Population, patients: int, folder: Path | str, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> PopulationReport:
    """Write patients 0 to `patients - 1`, each as a folder that appears whole or not at all.

    After a kill the same call goes on where it was: whole patients are kept, at most those in work are lost, one a worker. The files do
    not depend on the workers, nor on how often the work was cut off.

    Args:
        population: what to make.
        patients: how many; more later add to the same folder.
        folder: made if absent; holds one population.
        workers: processes; 1 works in this one.
        progress: called with (patients done, patients in all).

    Returns:
        What was made.

    Raises:
        PhantomError: for a folder that holds a population made with other options, or fewer than one patient or worker.
    """
    if patients < 1 or workers < 1:
        raise PhantomError(f"make_population: patients and workers must be 1 or more, got {patients} and {workers}")
    root = Path(folder)
    _claim(root, population)
    missing = [index for index in range(patients) if not (_home(root, population, index) / _TRUTH).is_file()]
    done = patients - len(missing)
    if progress is not None:
        progress(done, patients)
    for _ in _each(partial(make_one, population, root), missing, workers):
        done += 1
        if progress is not None:
            progress(done, patients)
    rows = root / ROWS
    with replacing(rows) as partial_rows, partial_rows.open("w", encoding="utf-8", newline="\n") as out:
        for index in range(patients):
            out.write(f"{(_home(root, population, index) / _TRUTH).read_text(encoding='utf-8').strip()}\n")
    return PopulationReport(folder=root, made=len(missing), kept=patients - len(missing), rows=rows)


def make_one(population: Population, root: Path, index: int) -> None:
    """Make one patient of a population in its folder."""
    home = _home(root, population, index)
    with appearing(home) as staged:
        visits = []
        records = make_records(
            population.seed,
            index,
            sites=population.sites,
            visits=population.visits,
            interval_days=population.interval_days,
            spacing_mm=population.spacing_mm,
            shape=population.shape,
            labels=population.labels,
            films="dx" in population.contents,
            mr="mr" in population.contents,
        )
        for record in records:
            place = staged / f"visit-{record.visit}"
            files = write_visit(record, place, contents=population.contents, format=population.format, identifiers=population.identifiers)
            visits.append(_visit_row(record, files, staged))
        first = records[0]
        row = {
            "synthetic": True,
            "patient_id": first.patient_id,
            "seed": first.seed,
            "index": index,
            "site": first.site.name,
            "vendor": first.site.vendor,
            "model": first.site.model,
            "sex": first.person.sex,
            "age": first.age,
            "classes": list(first.classes),
            "visits": visits,
        }
        (staged / _TRUTH).write_text(json.dumps(row) + "\n", encoding="utf-8")


def _visit_row(record: Record, files: VisitFiles, home: Path) -> dict[str, Any]:
    def below(path: Path) -> str:
        return path.relative_to(home).as_posix()

    places: dict[str, Any] = {name: below(path) for name, path in files.nifti.items()}
    if files.ct:
        places["ct_dicom"] = below(files.ct[0].parent)
    places |= {f"mr_{name}_dicom": below(paths[0].parent) for name, paths in files.mr.items()}
    places |= {f"film_{view}": below(path) for view, path in files.films.items()}
    for name, path in (("organs", files.organs), ("lesions", files.lesions), ("sizes", files.sizes), ("identifiers", files.planted)):
        if path is not None:
            places[name] = below(path)
    reports = {}
    for read, report in record.reports.items():
        pairs = dialogue(record.truths, modality=read, report=report, prior=record.prior)
        reports[read] = {
            "text": report.text,
            "style": report.style,
            "statements": [statement.as_dict() for statement in report.statements],
            "dialogue": [asdict(pair) for pair in pairs],
        }
    return {
        "visit": record.visit,
        "day": record.day,
        "study_date": record.study_date,
        "files": places,
        "findings": [_finding_row(record, place) for place in range(len(record.truths))],
        "landmarks_mm": {name: list(point) for name, point in record.landmarks_mm.items()},
        "response": None if record.response is None else asdict(record.response),
        "reports": reports,
    }


def _finding_row(record: Record, place: int) -> dict[str, Any]:
    truth = record.truths[place]
    return {
        "number": place + 1,
        "kind": truth.kind,
        "tracking_id": truth.tracking_id,
        "tracking_uid": record.tracking_uid(truth),
        "side": truth.side,
        "lobe": truth.lobe,
        "box": None if truth.box is None else [int(edge) for edge in truth.box],
        "film_boxes": {
            view: [int(edge) for edge in boxes[truth.tracking_id]]
            for view, boxes in record.film_boxes.items()
            if truth.tracking_id in boxes
        },
        "diameter_mm": truth.diameter_mm,
        "short_axis_mm": truth.short_axis_mm,
        "volume_ml": truth.volume_ml,
        "center_mm": [float(c) for c in truth.center_mm],
        "parents": list(truth.parents),
        "parameters": dict(truth.parameters),
    }


def _home(root: Path, population: Population, index: int) -> Path:
    return root / f"PHANTOM-{population.seed}-{index:05d}"


def _claim(root: Path, population: Population) -> None:
    """Write down the options, or refuse a folder with others."""
    said = population.as_json()
    plan = root / PLAN
    if plan.is_file() and plan.read_text(encoding="utf-8") != said:
        before, now = json.loads(plan.read_text(encoding="utf-8")), json.loads(said)
        other = ", ".join(sorted(name for name in {*before, *now} if before.get(name) != now.get(name)))
        raise PhantomError(
            f"{root}: holds a population that was made with other options ({other}); choose another folder, or delete this one"
        )
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(".*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    with replacing(root / NOTICE) as partial_notice:
        partial_notice.write_text(_NOTICE, encoding="utf-8")
    with replacing(plan) as partial_plan:
        partial_plan.write_text(said, encoding="utf-8")


def _each(work: Callable[[int], None], indices: list[int], workers: int) -> Iterator[None]:
    if workers == 1 or len(indices) < 2:
        for index in indices:
            work(index)
            yield
        return
    # Forking a process that has threads can hang its children.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(indices)), mp_context=context, initializer=_begin_worker) as pool:
        # No more are handed out than are worked on: after an error or Ctrl-C only these are waited for.
        waiting = iter(indices)
        working = {pool.submit(work, index) for index in islice(waiting, workers)}
        while working:
            done, working = wait(working, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                yield
            working |= {pool.submit(work, index) for index in islice(waiting, len(done))}


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when that is killed, which nothing else would tell a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
