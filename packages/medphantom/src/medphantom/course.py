"""A patient over time: visits whose lesions keep their identity, and between which every point's way is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import numpy.typing as npt

from medio.image import Image
from medio.keyed import keyed_generator
from medphantom.anatomy import CARDIOMEGALY_RATIO, Anatomy, draw_anatomy
from medphantom.deformation import Deformation, draw_deformation
from medphantom.errors import ScanError
from medphantom.findings.cardiomegaly import Cardiomegaly
from medphantom.findings.drawing import in_order, reshape
from medphantom.findings.finding import Finding
from medphantom.findings.nodule import Nodule
from medphantom.findings.spots import Point, Sample
from medphantom.findings.truth import Truth
from medphantom.mr import MRContrast
from medphantom.patient import Patient, make_patient
from medphantom.people import draw_person
from medphantom.progression import Fate, draw_fates, states
from medphantom.projection import PARALLEL, View
from medphantom.response import Response, choose_targets, respond
from medphantom.scene import Scene
from medphantom.shapes import Grid
from medphantom.sites import Site
from medphantom.study import Box, Labelling, paint_postures, take_study
from medphantom.thorax import make_scene

_JITTER = 0.12  # of the interval: how far a visit is off its due day


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Visit:
    """One visit: pictures, their truth, and where everything lay on the first.

    Attributes:
        number: from 0.
        day: since the first visit.
        findings: what is there, before what the picture stretches.
        truths: of the findings of which a voxel is seen, in the order of painting.
        ct: as in `Study`, and so are the following.
        labels: of the voxels' classes.
        classes: of the labels' values.
        lobes: of the lungs.
        radiographs: by view position.
        mr: by the contrast's name.
        film_boxes: for each film, the box of each finding's shadow by its tracking id; on an upright film, where it lies as the patient
            stands.
        deformation: from this visit's patient frame to the first's, in mm from the grid's middle; the identity on the first.
        landmarks_mm: (x, y, z) LPS mm on this visit: `carina`, `apex_right`, `apex_left`, and every nodule's centre by its tracking id.
        response: by RECIST 1.1; None on the first visit and where there never was a lesion.
        grid: the CT's voxels.
    """

    number: int
    day: int
    findings: tuple[Finding, ...]
    truths: tuple[Truth, ...]
    ct: Image
    labels: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    lobes: npt.NDArray[np.uint8]
    radiographs: Mapping[str, Image]
    mr: Mapping[str, Image]
    film_boxes: Mapping[str, Mapping[str, Box]]
    deformation: Deformation
    landmarks_mm: Mapping[str, Point]
    response: Response | None
    grid: Grid

    def displacement_mm(self) -> npt.NDArray[np.float32]:
        """For each voxel of this visit, where its tissue lay on the first less where it is now: (D, H, W, 3) float32, (x, y, z) LPS mm."""
        return self.deformation.displacement_mm(self.grid)

    def inverse_displacement_mm(self) -> npt.NDArray[np.float32]:
        """For each voxel of the first visit, where its tissue lies now less where it lay: (D, H, W, 3), (x, y, z) LPS mm, float32."""
        return self.deformation.inverse_displacement_mm(self.grid)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Course:
    """All visits of one patient.

    Attributes:
        patient: as on the first visit.
        visits: in order.
        fates: what becomes of each finding.
        targets: tracking ids of the lesions by which response is judged.
    """

    patient: Patient
    visits: tuple[Visit, ...]
    fates: tuple[Fate, ...]
    targets: tuple[str, ...]


def make_course(
    seed: int,
    index: int,
    *,
    visits: int = 3,
    interval_days: int = 90,
    spacing_mm: tuple[float, float, float] = (3.5, 3.5, 3.5),
    shape: tuple[int, int, int] = (80, 96, 112),
    findings: Sequence[Finding] | None = None,
    fates: Sequence[Fate] | None = None,
    motion: float = 1.0,
    site: Site | None = None,
    views: Sequence[View] = (PARALLEL,),
    contrasts: Sequence[MRContrast] = (),
    labels: Labelling = "basic",
) -> Course:
    """Make one patient and all visits; the first is that of `make_patient` with the same arguments.

    All visits share the anatomy, and what reshapes it (heart, collapsed lobes) stays. A nodule keeps the volume that its fate says,
    whatever the breath: only the tissue around it is stretched.

    Args:
        seed: names the population.
        index: the patient's number in it, from 0.
        visits: how many.
        interval_days: between visits; each is off by up to an eighth of it.
        spacing_mm: of every CT, (z, y, x).
        shape: of every CT, (D, H, W).
        findings: all that the patient has, or None for what `make_patient` draws. With `fates`, also what is new on a later visit.
        fates: what becomes of them, or None to draw it. With drawn ones a nodule among `findings` may begin as the two that merge into it.
        motion: how differently the patient lies and breathes: 0 for not at all, 1 as usual, at most 1.5.
        site: where the scans are made; None draws one of `SITES`.
        views: films to take, each in its posture, as `make_patient` does.
        contrasts: MR pictures to take.
        labels: `basic` or `full`.

    Returns:
        The course; the same arguments give the same bytes.

    Raises:
        ScanError: for what `make_patient` refuses, no visit, an interval below a day, a motion out of range, or fates that do
            not fit the findings.
    """
    if visits < 1 or interval_days < 1:
        raise ScanError(
            f"phantom course (seed {seed}, index {index}): visits and interval_days must be 1 or more, got {visits} and {interval_days}"
        )
    if fates is not None and findings is None:
        raise ScanError(f"phantom course (seed {seed}, index {index}): fates name findings; give the findings too")
    stream = partial(keyed_generator, (seed, 0, f"phantom-{index}", 0))
    days = _days(stream("days"), visits, interval_days)
    scan = partial(
        make_patient, seed, index, spacing_mm=spacing_mm, shape=shape, site=site, views=views, contrasts=contrasts, labels=labels
    )
    patient = None
    if findings is None:
        patient = scan()
        drawn, anatomy = _drawn(patient), patient.anatomy
    else:
        drawn = tuple(findings)
        sex = draw_person(stream("person")).sex
        anatomy = reshape(draw_anatomy(stream("anatomy"), sex=sex, enlarged_heart=False), drawn)
    if fates is None:
        drawn, fates = draw_fates(stream("fates"), anatomy, drawn, days, merging=patient is None)
    there = [in_order(state) for state in states(drawn, fates, days, anatomy)]
    patient = patient or scan(findings=there[0])
    grid = Grid.centred(shape, spacing_mm)
    sample_marks = _marks(anatomy)
    made = [_first(patient, there[0], grid, sample_marks)]
    for number in range(1, visits):
        rng = keyed_generator((seed, 0, f"phantom-{index}", number), "deformation")
        deformation = draw_deformation(rng, anatomy, motion)
        made.append(_follow_up(patient, number, days[number], there[number], deformation, grid, sample_marks, views, contrasts, labels))
    targets = choose_targets(made[0].truths)
    responses = respond([visit.truths for visit in made], targets)
    return Course(
        patient=patient,
        visits=tuple(replace(visit, response=response) for visit, response in zip(made, responses, strict=True)),
        fates=tuple(fates),
        targets=targets,
    )


def _days(rng: np.random.Generator, visits: int, interval_days: int) -> tuple[int, ...]:
    off = rng.uniform(-_JITTER, _JITTER, visits)
    return (0, *(max(round((number + off[number]) * interval_days), number) for number in range(1, visits)))


def _drawn(patient: Patient) -> tuple[Finding, ...]:
    """What `make_patient` draws by itself, as findings."""
    ratio = patient.anatomy.cardiothoracic_ratio
    heart: tuple[Finding, ...] = (Cardiomegaly(ratio=ratio),) if ratio > CARDIOMEGALY_RATIO else ()
    return (*heart, *patient.nodules)


def _first(patient: Patient, findings: tuple[Finding, ...], grid: Grid, marks: Mapping[str, Point]) -> Visit:
    identity = Deformation()
    return Visit(
        number=0,
        day=0,
        findings=findings,
        truths=patient.truths,
        ct=patient.ct,
        labels=patient.labels,
        classes=patient.classes,
        lobes=patient.lobes,
        radiographs=patient.radiographs,
        mr=patient.mr,
        film_boxes=patient.film_boxes,
        deformation=identity,
        landmarks_mm=_landmarks(patient.anatomy, findings, marks, identity),
        response=None,
        grid=grid,
    )


def _follow_up(
    patient: Patient,
    number: int,
    day: int,
    findings: tuple[Finding, ...],
    deformation: Deformation,
    grid: Grid,
    marks: Mapping[str, Point],
    views: Sequence[View],
    contrasts: Sequence[MRContrast],
    labels: Labelling,
) -> Visit:
    anatomy = patient.anatomy
    scene = make_scene(patient.seed, patient.index, anatomy, grid, warp=None if deformation.is_identity else deformation)
    paintings = paint_postures(scene, findings, views, partial(_paint, deformation=deformation))
    stream = partial(keyed_generator, (patient.seed, 0, f"phantom-{patient.index}", number))
    date = datetime.strptime(patient.study_date, "%Y%m%d") + timedelta(day)
    meta = {name: value for name, value in patient.ct.meta.items() if name != "modality"}
    meta |= {"study_date": f"{date:%Y%m%d}", "days_since_first": day}
    study = take_study(paintings, patient.site, stream, meta, views=views, contrasts=contrasts, labelling=labels)
    return Visit(
        number=number,
        day=day,
        findings=findings,
        truths=study.truths,
        ct=study.ct,
        labels=study.labels,
        classes=study.classes,
        lobes=study.lobes,
        radiographs=study.radiographs,
        mr=study.mr,
        film_boxes=study.film_boxes,
        deformation=deformation,
        landmarks_mm=_landmarks(anatomy, findings, marks, deformation),
        response=None,
        grid=grid,
    )


def _paint(scene: Scene, findings: Sequence[Finding], deformation: Deformation) -> tuple[Truth, ...]:
    """Paint the findings; nodules are drawn as much larger in the anatomy's frame as the picture shrinks them."""
    truths = []
    for finding in findings:
        if isinstance(finding, Nodule):
            x, y, z = np.subtract(finding.center_mm, scene.anatomy.table_mm)[:, None].astype(np.float32)
            change = float(deformation.volume_change(*deformation.inverse(x, y, z))[0])
            truth = finding.scaled(change).paint(scene)
            truths.append(replace(truth, parameters={**truth.parameters, "volume_ml": finding.volume_ml}))
        else:
            truths.append(finding.paint(scene))
    return tuple(truths)


def _marks(anatomy: Anatomy) -> Mapping[str, Point]:
    """Landmarks of the anatomy, (x, y, z) mm of its frame: the carina, and the highest of the points that sample each lung."""
    at = Sample.of_lungs(anatomy).at
    marks = {"carina": (-2.0, anatomy.skeleton.spine_y - anatomy.skeleton.vertebra_radius - 20, anatomy.mediastinum.carina_z)}
    for side in ("right", "left"):
        i = int(np.where(at.distance(f"lung_{side}") < 0, at.z, -np.inf).argmax())
        marks[f"apex_{side}"] = (float(at.x[i]), float(at.y[i]), float(at.z[i]))
    return marks


def _landmarks(anatomy: Anatomy, findings: Sequence[Finding], marks: Mapping[str, Point], deformation: Deformation) -> Mapping[str, Point]:
    table = np.array(anatomy.table_mm)
    points = {name: np.array(mark) for name, mark in marks.items()}
    points |= {finding.tracking_id: np.array(finding.center_mm) - table for finding in findings if isinstance(finding, Nodule)}
    landmarks: dict[str, Point] = {}
    for name, point in points.items():
        x, y, z = deformation.inverse(*point[:, None].astype(np.float32))
        landmarks[name] = (float(x[0] + table[0]), float(y[0] + table[1]), float(z[0] + table[2]))
    return landmarks
