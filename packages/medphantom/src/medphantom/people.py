"""Who a synthetic patient is. Every name says that it is a phantom."""

from dataclasses import dataclass

import numpy as np

from medphantom.sites import SITES as SITES
from medphantom.sites import Site as Site
from medphantom.sites import draw_site as draw_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A synthetic person on the day of the scan.

    Attributes:
        name: DICOM person name; family name PHANTOM.
        sex: `F` or `M`.
        age: whole years.
        birth_date: YYYYMMDD.
        study_date: YYYYMMDD.
        referrer: DICOM person name of the referring physician.
    """

    name: str
    sex: str
    age: int
    birth_date: str
    study_date: str
    referrer: str


def draw_person(rng: np.random.Generator) -> Person:
    """Draw a person of 30 to 89 years and a study date in 2020 to 2024, from the stream "person"."""
    sex = "F" if rng.random() < 0.5 else "M"
    given = str(rng.choice(_GIVEN_NAMES[sex]))
    middle = "".join(rng.choice(list("ABCDEFGHJKLMNPRSTVW"), 3))
    age = int(rng.integers(30, 90))
    study_year, study_day = int(rng.integers(2020, 2025)), int(rng.integers(0, 365))
    # Born between 0 and 364 days before the birthday that makes the age.
    birth_day = study_day - int(rng.integers(0, 365))
    birth_year = study_year - age - (birth_day < 0)
    return Person(
        name=f"PHANTOM^{given}^{middle}",
        sex=sex,
        age=age,
        birth_date=_date(birth_year, birth_day % 365),
        study_date=_date(study_year, study_day),
        referrer=f"PHANTOM-REFERRER^{rng.choice(_GIVEN_NAMES['F'] + _GIVEN_NAMES['M'])}",
    )


_GIVEN_NAMES = {"F": ["NORA", "IDA", "MAREN", "LOTTE", "SELMA", "GRETE"], "M": ["ODIN", "JAKOB", "HANNES", "EMIL", "VIGGO", "TORE"]}
_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _date(year: int, day: int) -> str:
    """YYYYMMDD of a day (0 to 364) of a year; 29 February is never used, so that ages stay exact."""
    for month, length in enumerate(_MONTH_LENGTHS, start=1):
        if day < length:
            return f"{year:04d}{month:02d}{day + 1:02d}"
        day -= length
    raise ValueError(f"day must lie between 0 and 364, {day} days remain after December")
