"""A synthetic patient: everything a pure function of a seed and an index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from medio.image import Image
from medio.keyed import keyed_generator
from medphantom.anatomy import CARDIOMEGALY_RATIO, Anatomy, draw_anatomy
from medphantom.errors import ScanError
from medphantom.findings.cardiomegaly import Cardiomegaly
from medphantom.findings.drawing import draw_findings, reshape
from medphantom.findings.finding import Finding
from medphantom.findings.nodule import Nodule
from medphantom.findings.nodule_drawing import draw_nodules
from medphantom.findings.truth import Truth
from medphantom.mr import MRContrast
from medphantom.organs.distances import organ_distance
from medphantom.people import Person, draw_person
from medphantom.projection import PARALLEL, View
from medphantom.reports.short import write_report
from medphantom.reports.writing import write_visit_report
from medphantom.shapes import Field, Grid
from medphantom.sites import Site, draw_site
from medphantom.study import Box, Labelling, paint_postures, take_study
from medphantom.thorax import make_scene


@dataclass(frozen=True, eq=False)
class Patient:
    """A synthetic patient, a thorax CT, a film, and their truth.

    Attributes:
        patient_id: names seed and index.
        seed: what the patient was made from.
        index: what the patient was made from.
        ct: (D, H, W) int16 HU; axes run to superior, posterior, left (SPL); affine to LPS mm.
        labels: (D, H, W) uint8, values index `classes`.
        classes: background first.
        nodules: those in the field of view; labels, findings and report agree with this list.
        radiograph: the first film, (rows, columns) uint16, head up, denser is brighter; no affine. Unless asked for otherwise it is a PA film
            by parallel rays, (D, W), the patient's left at the right.
        findings: `nodule`, `cardiomegaly`.
        report: text that says the findings.
        anatomy: all parameters of the thorax.
        person: name, sex, age, dates.
        site: hospital and scanner.
        lobes: (D, H, W) uint8, values index `medphantom.labels.LOBE_CLASSES`.
        radiographs: all films by view position.
        mr: MR pictures by the contrast's name, (D, H, W) uint16 on the CT's grid.
        truths: of the findings of which a voxel is seen, in the order of painting, as on the CT; with a mask each.
        film_boxes: for each film, the box of each finding's shadow by its tracking id; on an upright film, where it lies as the patient
            stands.
    """

    patient_id: str
    seed: int
    index: int
    ct: Image
    labels: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    nodules: tuple[Nodule, ...]
    radiograph: Image
    findings: Mapping[str, bool]
    report: str
    anatomy: Anatomy
    person: Person
    site: Site
    lobes: npt.NDArray[np.uint8]
    radiographs: Mapping[str, Image]
    mr: Mapping[str, Image]
    truths: tuple[Truth, ...]
    film_boxes: Mapping[str, Mapping[str, Box]]

    @property
    def sex(self) -> str:
        """`F` or `M`."""
        return self.person.sex

    @property
    def age(self) -> int:
        """Whole years on the study date."""
        return self.person.age

    @property
    def study_date(self) -> str:
        """YYYYMMDD."""
        return self.person.study_date


def make_patient(
    seed: int,
    index: int,
    *,
    spacing_mm: tuple[float, float, float] = (3.5, 3.5, 3.5),
    shape: tuple[int, int, int] = (80, 96, 112),
    findings: Sequence[Finding] | Mapping[str, float] | None = None,
    site: Site | None = None,
    views: Sequence[View] = (PARALLEL,),
    contrasts: Sequence[MRContrast] = (),
    labels: Labelling = "basic",
) -> Patient:
    """Make one synthetic patient.

    The person, the anatomy and its nodules depend on seed and index alone; spacing and shape choose how the scanner looks at them.
    The field of view is centred on the thorax and may cut it; a nodule that it would cut is left out, so that list, labels and findings agree.

    Args:
        seed: names the population.
        index: the patient's number in it, from 0.
        spacing_mm: of the CT, (z, y, x).
        shape: of the CT, (D, H, W); the default covers 280 x 336 x 392 mm, a whole thorax.
        findings: what is wrong with the patient: findings, () for a healthy one; or how often each kind is drawn, as for `draw_findings`;
            None for nodules and an enlarged heart as often as usual.
        site: where the scan is made; None draws one of `SITES`.
        views: films to take, at least one, each position once; the first is `Patient.radiograph`. On upright ones (`STANDING`, `LATERAL`)
            pleural fluid and air lie where they flow as the patient stands.
        contrasts: MR pictures to take on the CT's grid.
        labels: `basic` for the seven classes, `full` for every organ and finding.

    Returns:
        The patient; the same arguments give the same bytes.

    Raises:
        ScanError: for a negative index, a spacing or shape that no scan can have, or views that are missing or double.
    """
    if not views or len({view.position for view in views}) < len(views):
        raise ScanError(f"phantom patient (seed {seed}, index {index}): views must name at least one position, each once")
    grid = Grid.centred(*_check_scan(seed, index, spacing_mm, shape))
    stream = partial(keyed_generator, (seed, 0, f"phantom-{index}", 0))
    person, site = draw_person(stream("person")), site or draw_site(stream("site"))
    anatomy = draw_anatomy(stream("anatomy"), sex=person.sex, enlarged_heart=None if findings is None else False)
    if findings is None:
        chosen = _usual_findings(stream("nodules"), anatomy, grid)
    else:
        chosen = draw_findings(stream("findings"), anatomy, findings) if isinstance(findings, Mapping) else tuple(findings)
        anatomy = reshape(anatomy, chosen)
    scene = make_scene(seed, index, anatomy, grid)
    paintings = paint_postures(scene, chosen, views)
    nodules = tuple(f for f in chosen if isinstance(f, Nodule) and _sees(grid, f, anatomy.table_mm))

    patient_id = f"PHANTOM-{seed}-{index:05d}"
    present = {
        "nodule": any(truth.kind == "nodule" for truth in paintings["supine"].truths),
        "cardiomegaly": anatomy.cardiothoracic_ratio > CARDIOMEGALY_RATIO,
    }
    meta = {
        "patient_id": patient_id,
        "study_date": person.study_date,
        "manufacturer": site.vendor,
        "institution_name": site.name,
        "patient_sex": person.sex,
        "patient_age": person.age,
        "synthetic": True,
    }
    study = take_study(paintings, site, stream, meta, views=views, contrasts=contrasts, labelling=labels)
    return Patient(
        patient_id=patient_id,
        seed=seed,
        index=index,
        ct=study.ct,
        labels=study.labels,
        classes=study.classes,
        nodules=nodules,
        radiograph=next(iter(study.radiographs.values())),
        findings=present,
        report=(
            write_report(anatomy, nodules, present)
            if findings is None
            else write_visit_report(study.truths, modality="CT", rng=stream("report")).text
        ),
        anatomy=anatomy,
        person=person,
        site=site,
        lobes=study.lobes,
        radiographs=study.radiographs,
        mr=study.mr,
        truths=study.truths,
        film_boxes=study.film_boxes,
    )


def _check_scan(
    seed: int, index: int, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    name = f"phantom patient (seed {seed}, index {index})"
    if index < 0:
        raise ScanError(f"{name}: index must be 0 or more; number the patients of a seed from 0")
    if len(spacing_mm) != 3 or not all(0 < s < float("inf") for s in spacing_mm):
        raise ScanError(f"{name}: spacing_mm must be three positive lengths in mm (z, y, x), got {spacing_mm}")
    if len(shape) != 3 or not all(n == int(n) and n >= 2 for n in shape):
        raise ScanError(f"{name}: shape must be three counts (D, H, W) of 2 voxels or more, got {shape}")
    (d, h, w), (sz, sy, sx) = shape, spacing_mm
    return (int(d), int(h), int(w)), (float(sz), float(sy), float(sx))


def _sees(grid: Grid, nodule: Nodule, table_mm: tuple[float, float, float]) -> bool:
    """Whether the whole nodule lies between the first and the last voxel centres."""
    half_view = np.array([axis[-1] for axis in (grid.x, grid.y, grid.z)])
    return bool((np.abs(np.subtract(nodule.center_mm, table_mm)) + nodule.semi_axes_mm <= half_view).all())


def _usual_findings(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> tuple[Finding, ...]:
    """The patient's nodules that the grid sees whole, and the heart where it is enlarged."""

    def lung_distance(points: npt.NDArray[np.float64]) -> Field:
        return organ_distance(anatomy, "lung", *points.T.astype(np.float32))

    chest = anatomy.chest
    low = (-chest.half_width, chest.center_y - chest.half_depth, anatomy.diaphragm.left_z - anatomy.diaphragm.drop)
    high = (chest.half_width, chest.center_y + chest.half_depth, chest.apex_z)
    nodules = draw_nodules(rng, lung_distance, low, high, anatomy.table_mm)
    seen = [nodule for nodule in nodules if _sees(grid, nodule, anatomy.table_mm)]
    named = (replace(nodule, tracking_id=f"nodule-{number}") for number, nodule in enumerate(seen, start=1))
    ratio = anatomy.cardiothoracic_ratio
    return (*((Cardiomegaly(ratio=ratio),) if ratio > CARDIOMEGALY_RATIO else ()), *named)
