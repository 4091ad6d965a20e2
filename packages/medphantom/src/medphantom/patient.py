"""A synthetic patient: everything a pure function of a seed and an index."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from medio.image import Image
from medio.keyed import keyed_generator
from medphantom.anatomy import CARDIOMEGALY_RATIO, Anatomy, Nodule, draw_anatomy
from medphantom.errors import ScanError
from medphantom.nodules import draw_nodules
from medphantom.organs.distances import organ_distance
from medphantom.people import Person, Site, draw_person, draw_site
from medphantom.radiograph import expose, line_integrals
from medphantom.report import write_report
from medphantom.scene import render
from medphantom.shapes import Field, Grid
from medphantom.thorax import CLASSES, make_scene, paint_nodule

_HU_RANGE = (-1024, 3071)


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
        radiograph: (D, W) uint16 PA film, head up, patient's left at the right, denser is brighter; no affine.
        findings: `nodule`, `cardiomegaly`.
        report: text that says the findings.
        anatomy: all parameters of the thorax.
        person: name, sex, age, dates.
        site: hospital and scanner.
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
    seed: int, index: int, *, spacing_mm: tuple[float, float, float] = (3.5, 3.5, 3.5), shape: tuple[int, int, int] = (80, 96, 112)
) -> Patient:
    """Make one synthetic patient.

    The person, the anatomy and its nodules depend on seed and index alone; spacing and shape choose how the scanner looks at them.
    The field of view is centred on the thorax and may cut it; a nodule that it would cut is left out, so that list, labels and findings agree.

    Args:
        seed: names the population.
        index: the patient's number in it, from 0.
        spacing_mm: of the CT, (z, y, x).
        shape: of the CT, (D, H, W); the default covers 280 x 336 x 392 mm, a whole thorax.

    Returns:
        The patient; the same arguments give the same bytes.

    Raises:
        ScanError: for a negative index, or a spacing or shape that no scan can have.
    """
    grid = Grid.centred(*_check_scan(seed, index, spacing_mm, shape))
    stream = partial(keyed_generator, (seed, 0, f"phantom-{index}", 0))
    person, site = draw_person(stream("person")), draw_site(stream("site"))
    anatomy = draw_anatomy(stream("anatomy"), sex=person.sex)

    def lung_distance(points: npt.NDArray[np.float64]) -> Field:
        x, y, z = points.T.astype(np.float32)
        return organ_distance(anatomy, "lung", x, y, z)

    chest = anatomy.chest
    low = (-chest.half_width, chest.center_y - chest.half_depth, anatomy.diaphragm.left_z - anatomy.diaphragm.drop)
    high = (chest.half_width, chest.center_y + chest.half_depth, chest.apex_z)
    nodules = draw_nodules(stream("nodules"), lung_distance, low, high, anatomy.table_mm)
    nodules = tuple(nodule for nodule in nodules if _sees(grid, nodule, anatomy.table_mm))
    scene = make_scene(seed, index, anatomy, grid)
    for nodule in nodules:
        paint_nodule(scene, nodule)
    clean = render(scene)

    patient_id = f"PHANTOM-{seed}-{index:05d}"
    findings = {"nodule": bool(nodules), "cardiomegaly": anatomy.cardiothoracic_ratio > CARDIOMEGALY_RATIO}
    meta = {
        "patient_id": patient_id,
        "study_date": person.study_date,
        "manufacturer": site.vendor,
        "institution_name": site.name,
        "patient_sex": person.sex,
        "patient_age": person.age,
        "synthetic": True,
    }
    film = expose(line_integrals(clean, grid.spacing_mm[1]), site.film_photons, stream("film-noise"))
    return Patient(
        patient_id=patient_id,
        seed=seed,
        index=index,
        ct=Image(_scan(clean, site, stream("ct-noise")), _affine(grid, anatomy), grid.spacing_mm, "HU", {**meta, "modality": "CT"}),
        labels=scene.labels("basic"),
        classes=CLASSES,
        nodules=nodules,
        radiograph=Image(film, None, (grid.spacing_mm[0], grid.spacing_mm[2]), "", {**meta, "modality": "DX", "view_position": "PA"}),
        findings=findings,
        report=write_report(anatomy, nodules, findings),
        anatomy=anatomy,
        person=person,
        site=site,
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


def _affine(grid: Grid, anatomy: Anatomy) -> npt.NDArray[np.float64]:
    """Map (z, y, x, 1) to LPS mm: axis 0 runs to superior (+z), axis 1 to posterior (+y), axis 2 to the left (+x)."""
    sz, sy, sx = grid.spacing_mm
    d, h, w = grid.shape
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = sz, sy, sx, 1
    affine[:3, 3] = np.array(anatomy.table_mm) - np.array([(w - 1) * sx, (h - 1) * sy, (d - 1) * sz]) / 2
    return affine


def _sees(grid: Grid, nodule: Nodule, table_mm: tuple[float, float, float]) -> bool:
    """Whether the whole nodule lies between the first and the last voxel centres."""
    half_view = np.array([axis[-1] for axis in (grid.x, grid.y, grid.z)])
    return bool((np.abs(np.subtract(nodule.center_mm, table_mm)) + nodule.semi_axes_mm <= half_view).all())


def _scan(clean: Field, site: Site, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Add the scanner's noise, slightly correlated in plane as reconstruction leaves it, and round to HU."""
    noise = rng.standard_normal(clean.shape, np.float32)
    # Weights 1/6, 2/3, 1/6 along y and x keep a share of (1/36 + 4/9 + 1/36)^2 = 1/4 of the variance: a factor of 2 restores it.
    for axis in (1, 2):
        noise = noise * np.float32(2 / 3) + (np.roll(noise, 1, axis) + np.roll(noise, -1, axis)) * np.float32(1 / 6)
    noise *= np.float32(2 * site.noise_hu)
    noise += clean
    return np.rint(np.clip(noise, *_HU_RANGE, out=noise)).astype(np.int16)
