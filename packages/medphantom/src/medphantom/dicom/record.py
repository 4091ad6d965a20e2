"""All of one visit that goes into files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from pydicom.uid import UID

from medio import keyed_uids
from medio.image import Image
from medphantom.errors import PhantomError
from medphantom.findings.truth import Truth
from medphantom.people import Person
from medphantom.reports.statements import Report
from medphantom.reports.visibility import Modality
from medphantom.response import Response
from medphantom.sites import Site

FilmBox = tuple[int, int, int, int]
"""(row0, column0, row1, column1) in a film's pixels, half open."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Record:
    """One visit of a patient, ready to be written.

    Attributes:
        patient_id: names seed and index.
        seed: what the patient was made from.
        index: what the patient was made from.
        visit: number of the visit, from 0.
        day: days since the first visit.
        person: as on the first visit.
        site: hospital and scanner.
        ct: (D, H, W) HU with its affine.
        labels: (D, H, W) uint8 on the CT's grid, values index `classes`.
        classes: background first.
        truths: of the findings.
        films: by view position (`PA`, `AP`, `LAT`).
        mr: by the contrast's name, on the CT's grid.
        lobes: (D, H, W) uint8 on the CT's grid, or None.
        displacement_mm: (D, H, W, 3) float32 LPS mm (x, y, z) on the CT's grid: from where a voxel's tissue lies on this visit to where
            it lay on the first; None on the first.
        film_boxes: for each film, the box of each truth's shadow by its tracking id.
        prior: the findings of the visit before, or None on the first.
        response: against the first visit and the best since, by RECIST 1.1; None where there is none.
        landmarks_mm: (x, y, z) LPS mm on this visit, by name.
        reports: by what was read (`CT`, `PA`, `AP`, `LAT`).
    """

    patient_id: str
    seed: int
    index: int
    visit: int
    day: int
    person: Person
    site: Site
    ct: Image
    labels: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    truths: tuple[Truth, ...] = ()
    films: Mapping[str, Image] = field(default_factory=dict)
    mr: Mapping[str, Image] = field(default_factory=dict)
    lobes: npt.NDArray[np.uint8] | None = None
    displacement_mm: npt.NDArray[np.float32] | None = None
    film_boxes: Mapping[str, Mapping[str, FilmBox]] = field(default_factory=dict)
    prior: tuple[Truth, ...] | None = None
    response: Response | None = None
    landmarks_mm: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    reports: Mapping[Modality, Report] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.visit < 0 or self.day < 0 or (self.visit == 0 and self.day):
            raise PhantomError(
                f"{self.patient_id}: visits are numbered from 0 and days from the first visit, got visit {self.visit} on day {self.day}"
            )

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Of the CT's grid."""
        assert self.ct.affine is not None  # an Image of three dimensions always has one
        return self.ct.affine

    @property
    def study_date(self) -> str:
        """YYYYMMDD of the visit."""
        return _plus(self.person.study_date, self.day)

    @property
    def age(self) -> int:
        """Whole years on the day of the visit."""
        today, born = self.study_date, self.person.birth_date
        return int(today[:4]) - int(born[:4]) - (today[4:] < born[4:])

    def identity(self) -> str:
        """Name this very visit: where seed, index, scan or voxels differ, so does it; equal for equal ones."""
        digest = hashlib.blake2b(np.ascontiguousarray(self.ct.array).tobytes(), digest_size=16).hexdigest()
        scan = f"spacing {self.ct.spacing} shape {self.ct.array.shape}"
        return f"medphantom seed {self.seed} index {self.index} visit {self.visit} {scan} {digest}"

    def tracking_uid(self, truth: Truth) -> str:
        """UID of a finding: equal on every visit and scan of the patient."""
        return keyed_uids(f"medphantom seed {self.seed} index {self.index} finding")(truth.tracking_id)


@dataclass(frozen=True, slots=True)
class Uids:
    """UIDs of one visit, each made from the visit's identity and a role."""

    identity: str

    def __call__(self, role: str) -> UID:
        """The UID of a role."""
        return UID(keyed_uids(self.identity)(role))


def _plus(day: str, days: int) -> str:
    moved = date(int(day[:4]), int(day[4:6]), int(day[6:])) + timedelta(days)
    return moved.strftime("%Y%m%d")
