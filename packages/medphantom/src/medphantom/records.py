"""Patients of sites with what those sites' patients have: every visit, its pictures, its reports, ready to be written."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from medio.keyed import keyed_generator
from medphantom.anatomy import draw_anatomy
from medphantom.course import Visit, make_course
from medphantom.dicom.record import Record
from medphantom.findings.drawing import draw_findings
from medphantom.mr import T1W, T2W
from medphantom.patient import Patient
from medphantom.people import draw_person
from medphantom.projection import LATERAL, STANDING, View
from medphantom.reports.visibility import Modality
from medphantom.reports.writing import write_visit_report
from medphantom.sites import SITES, Site, draw_site
from medphantom.study import Labelling

THORAX_MM = (288.0, 336.0, 384.0)
"""What a CT covers (z, y, x), where no shape is asked for."""
_BEDSIDE_MM = 1000.0  # from the focus to the detector
_VIEWS: tuple[Modality, ...] = ("PA", "AP", "LAT")
Triple = tuple[float, float, float]


def make_records(
    seed: int,
    index: int,
    *,
    sites: Sequence[Site] = SITES,
    visits: int = 1,
    interval_days: int = 180,
    spacing_mm: Triple | None = None,
    shape: tuple[int, int, int] | None = None,
    labels: Labelling = "basic",
    films: bool = True,
    mr: bool = False,
) -> tuple[Record, ...]:
    """Make all visits of one patient of one of several sites.

    Args:
        seed: names the population.
        index: the patient's number in it.
        sites: one is drawn; its prevalence says what the patient may have, its machines take the pictures.
        visits: how many.
        interval_days: mean time between them.
        spacing_mm: of the CT (z, y, x); None for the site's own.
        shape: of the CT (D, H, W); None for as many voxels as cover `THORAX_MM`.
        labels: `basic` or `full`.
        films: an AP film at the bedside, supine, for the site's `ap_share` of patients, else PA and lateral ones, upright; without them, a
            PA film of the patient as on the CT.
        mr: also T1w and T2w pictures.

    Returns:
        The visits in order, each with a report of its CT and of each film.
    """
    stream = partial(keyed_generator, (seed, 0, f"phantom-{index}", 0))
    site = draw_site(stream("site"), tuple(sites))
    person = draw_person(stream("person"))
    anatomy = draw_anatomy(stream("anatomy"), sex=person.sex, enlarged_heart=False)
    findings = draw_findings(stream("findings"), anatomy, site.prevalence)
    spacing = spacing_mm or site.spacing_mm
    course = make_course(
        seed,
        index,
        visits=visits,
        interval_days=interval_days,
        spacing_mm=spacing,
        shape=shape or covering(spacing),
        findings=findings,
        site=site,
        views=views_of(site, stream("views")) if films else (View(),),
        contrasts=(T1W, T2W) if mr else (),
        labels=labels,
    )
    return tuple(_record(course.patient, visit, before) for visit, before in zip(course.visits, (None, *course.visits), strict=False))


def covering(spacing_mm: Triple) -> tuple[int, int, int]:
    """How many voxels (D, H, W) cover `THORAX_MM`."""
    d, h, w = (max(2, round(extent / spacing)) for extent, spacing in zip(THORAX_MM, spacing_mm, strict=True))
    return d, h, w


def views_of(site: Site, rng: np.random.Generator) -> tuple[View, ...]:
    """The films of one patient: AP alone, from near by, for those who cannot stand; else PA and lateral, upright."""
    if rng.random() < site.ap_share:
        return (View(position="AP", source_mm=_BEDSIDE_MM),)
    return STANDING, LATERAL


def _record(patient: Patient, visit: Visit, before: Visit | None) -> Record:
    rng = keyed_generator((patient.seed, 0, f"phantom-{patient.index}", visit.number), "report")
    read: list[Modality] = ["CT", *(view for view in _VIEWS if view in visit.radiographs)]
    prior, days = (None, None) if before is None else (before.truths, visit.day - before.day)
    return Record(
        patient_id=patient.patient_id,
        seed=patient.seed,
        index=patient.index,
        visit=visit.number,
        day=visit.day,
        person=patient.person,
        site=patient.site,
        ct=visit.ct,
        labels=visit.labels,
        classes=visit.classes,
        truths=visit.truths,
        films=visit.radiographs,
        mr=visit.mr,
        lobes=visit.lobes,
        displacement_mm=None if before is None else visit.displacement_mm(),
        film_boxes=visit.film_boxes,
        prior=prior,
        response=visit.response,
        landmarks_mm=visit.landmarks_mm,
        reports={one: write_visit_report(visit.truths, modality=one, rng=rng, prior=prior, days_since_prior=days) for one in read},
    )
