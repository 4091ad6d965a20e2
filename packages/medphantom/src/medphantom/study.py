"""One study: what a site's machines make of a scene, and what is true in it."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medio.image import Image
from medphantom.acquisition import acquire_ct, acquire_film, acquire_mr
from medphantom.anatomy import Anatomy
from medphantom.findings.drawing import paint_findings
from medphantom.findings.finding import Finding
from medphantom.findings.gravity import Posture
from medphantom.findings.postures import in_posture, moves
from medphantom.findings.truth import Truth
from medphantom.labels import BASIC_CLASSES, CLASSES
from medphantom.mr import MRContrast
from medphantom.projection import PARALLEL, View
from medphantom.scene import Scene, render
from medphantom.shapes import Field, Grid
from medphantom.sites import Site

Box = tuple[int, int, int, int]
"""(row0, column0, row1, column1) in a film's pixels, half open."""
Labelling = Literal["basic", "full"]
"""`basic`: the seven classes of `BASIC_CLASSES`; `full`: every organ and finding, `CLASSES`."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Study:
    """Pictures of one visit and their truth.

    Attributes:
        ct: (D, H, W) int16 HU; axes run to superior, posterior, left (SPL); affine to LPS mm.
        labels: (D, H, W) uint8, values index `classes`.
        classes: background first.
        lobes: (D, H, W) uint8, values index `medphantom.labels.LOBE_CLASSES`.
        radiographs: films by view position, in the order asked for; (rows, columns) uint16, denser is brighter; no affine.
        mr: by the contrast's name, (D, H, W) uint16 on the CT's grid.
        truths: of the findings of which a voxel is seen, in the order in which they were painted, as on the CT.
        film_boxes: for each film, the box of every finding's shadow by its tracking id, as it lies in the film's posture; those beside the
            film are left out.
    """

    ct: Image
    labels: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    lobes: npt.NDArray[np.uint8]
    radiographs: Mapping[str, Image]
    mr: Mapping[str, Image]
    truths: tuple[Truth, ...]
    film_boxes: Mapping[str, Mapping[str, Box]]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Painting:
    """The patient in one posture.

    Attributes:
        scene: painted with the thorax and the findings.
        truths: of the findings of which a voxel is seen, in the order in which they were painted.
    """

    scene: Scene
    truths: tuple[Truth, ...]


def paint_postures(
    scene: Scene,
    findings: Sequence[Finding],
    views: Sequence[View],
    paint: Callable[[Scene, Sequence[Finding]], tuple[Truth, ...]] = paint_findings,
) -> Mapping[Posture, Painting]:
    """Paint a patient's findings for the CT and, where it differs, for the films that are taken upright.

    Args:
        scene: of the anatomy that the findings reshape, painted with the healthy thorax; they are painted into it as they are, for the CT.
        findings: of the patient as the CT finds them, in any order.
        views: films to be taken.
        paint: paints findings into a scene and gives their truths.

    Returns:
        `supine` and `upright`; the same painting where no view is upright or nothing moves as the patient stands up.
    """
    healthy = tuple(scene.layers)
    lying = Painting(scene=scene, truths=_seen(paint(scene, findings)))
    if all(view.posture == "supine" for view in views) or not any(moves(finding, "upright") for finding in findings):
        return {"supine": lying, "upright": lying}
    risen = copy(scene)  # it shares what was found out about the organs
    risen.layers = list(healthy)
    standing = paint(risen, in_posture(findings, scene.anatomy, "upright"))
    return {"supine": lying, "upright": Painting(scene=risen, truths=_seen(standing))}


def take_study(
    paintings: Mapping[Posture, Painting],
    site: Site,
    stream: Callable[[str], np.random.Generator],
    meta: Mapping[str, Any],
    *,
    views: Sequence[View] = (PARALLEL,),
    contrasts: Sequence[MRContrast] = (),
    labelling: Labelling = "basic",
) -> Study:
    """Take every picture of a painted patient.

    Args:
        paintings: of `paint_postures`: CT, MR and labels are of the supine one, each film is of its view's.
        site: whose machines look.
        stream: gives the visit's generator of a named stream; `ct-noise`, `film-noise` (for the first film, `film-noise-AP` and the like for others)
            and `mr-T1w` and the like are asked for.
        meta: of every image; `modality` and what belongs to one kind of image is added.
        views: films, each position once.
        contrasts: MR pictures.
        labelling: which classes the labels tell apart.

    Returns:
        The study.
    """
    scene, risen, truths = paintings["supine"].scene, paintings["upright"].scene, paintings["supine"].truths
    grid = scene.grid
    clean = render(scene)
    shown: dict[Posture, Field] = {"supine": clean, "upright": clean if risen is scene else render(risen)}
    affine = grid_affine(grid, scene.anatomy)
    films: dict[str, Image] = {}
    for number, view in enumerate(views):
        rng = stream("film-noise" if number == 0 else f"film-noise-{view.position}")
        film_meta = {**meta, "modality": "DX", "view_position": view.position, "source_to_detector_mm": view.source_mm}
        film = acquire_film(shown[view.posture], grid, view, site, rng)
        films[view.position] = Image(film, None, view.pixels(grid), "", film_meta)
    pictures: dict[str, Image] = {}
    for contrast in contrasts:
        signal = acquire_mr(render(scene, contrast), grid, site, stream(f"mr-{contrast.name}"))
        timing = {"echo_time": contrast.te_ms, "repetition_time": contrast.tr_ms, "inversion_time": contrast.ti_ms}
        pictures[contrast.name] = Image(
            signal, affine, grid.spacing_mm, "", {**meta, "modality": "MR", "series_description": contrast.name, **timing}
        )
    return Study(
        ct=Image(acquire_ct(clean, grid, site, stream("ct-noise")), affine, grid.spacing_mm, "HU", {**meta, "modality": "CT"}),
        labels=scene.labels(labelling),
        classes=BASIC_CLASSES if labelling == "basic" else CLASSES,
        lobes=scene.lobes(),
        radiographs=films,
        mr=pictures,
        truths=truths,
        film_boxes={view.position: film_boxes(view, grid, paintings[view.posture].truths) for view in views},
    )


def film_boxes(view: View, grid: Grid, truths: Sequence[Truth]) -> Mapping[str, Box]:
    """Boxes of findings' shadows on one film, by tracking id; a finding beside the film has none."""
    boxes = {truth.tracking_id: view.box(grid, truth.mask, truth.region) for truth in truths}
    return {name: box for name, box in boxes.items() if box is not None}


def _seen(truths: Sequence[Truth]) -> tuple[Truth, ...]:
    return tuple(truth for truth in truths if truth.seen)


def grid_affine(grid: Grid, anatomy: Anatomy) -> npt.NDArray[np.float64]:
    """Map (z, y, x, 1) to LPS mm: axis 0 runs to superior (+z), axis 1 to posterior (+y), axis 2 to the left (+x)."""
    sz, sy, sx = grid.spacing_mm
    d, h, w = grid.shape
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = sz, sy, sx, 1
    affine[:3, 3] = np.array(anatomy.table_mm) - np.array([(w - 1) * sx, (h - 1) * sy, (d - 1) * sz]) / 2
    return affine
