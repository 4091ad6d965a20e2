"""Positive pairs: two views of one sample, or two samples of one patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from medaug.compose import Compose
from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.keyed import SampleKey
from medaug.views.partners import batch_keys

Dates = Literal["any", "same", "different"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientPairs:
    """Chooses for a sample another one of the same patient.

    Attributes:
        ids: sample ids, each once.
        patients: the patient of each.
        days: the day of each sample's study, on any one calendar (a day number, not a text); None: dates are unknown and `dates` must be "any".
        dates: "same": of the same day; "different": of another day; "any".
        days_apart: (least, greatest) distance in days of a "different" pair, or None.
        alone: for a sample without such a partner: "self", so that its two views make the pair, or "error".

    Raises:
        AugmentationError: for columns of unequal length, an id that comes twice, dates without days, NaN days, a reversed `days_apart`.

    Source: Sowrirajan et al., "MoCo-CXR" and Azizi et al., "Big self-supervised models" (multi-instance pairs of a patient), both 2021.
    """

    ids: Sequence[str]
    patients: Sequence[str]
    days: Sequence[float] | None = None
    dates: Dates = "any"
    days_apart: tuple[float, float] | None = None
    alone: Literal["self", "error"] = "self"
    _rows: dict[str, int] = field(init=False, repr=False, compare=False)
    _of_patient: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.patients), len(self.ids if self.days is None else self.days)}
        rows = {str(name): row for row, name in enumerate(self.ids)}
        if len(lengths) != 1 or len(rows) != len(self.ids):
            raise AugmentationError(
                "PatientPairs", f"needs one patient and day for each of {len(self.ids)} different ids; {len(rows)} differ"
            )
        if self.dates not in get_args(Dates) or self.alone not in ("self", "error"):
            raise AugmentationError(
                "PatientPairs", f"dates is any, same or different and alone is self or error, got {self.dates!r}, {self.alone!r}"
            )
        if self.dates != "any" and (self.days is None or not np.isfinite(np.asarray(self.days, np.float64)).all()):
            raise AugmentationError(
                "PatientPairs", f"dates={self.dates!r} needs a finite number in `days` for each sample; leave out what has none"
            )
        if self.days_apart is not None and (self.dates != "different" or not 0 <= self.days_apart[0] <= self.days_apart[1]):
            raise AugmentationError("PatientPairs", f'days_apart is (least, greatest) with dates="different", got {self.days_apart}')
        patients: dict[str, list[int]] = {}
        for row, patient in enumerate(self.patients):
            patients.setdefault(str(patient), []).append(row)
        object.__setattr__(self, "_rows", rows)
        object.__setattr__(self, "_of_patient", {name: tuple(members) for name, members in patients.items()})

    def candidates(self, sample_id: str) -> tuple[str, ...]:
        """List a sample's possible partners, sorted by id: the table's order changes nothing.

        Raises:
            AugmentationError: for an id that the table lacks.
        """
        if sample_id not in self._rows:
            raise AugmentationError(sample_id, "is not in the table of patients; give PatientPairs all samples")
        own = self._rows[sample_id]
        rows = [row for row in self._of_patient[str(self.patients[own])] if row != own and self._fits(own, row)]
        return tuple(sorted(str(self.ids[row]) for row in rows))

    def partner(self, key: SampleKey) -> str:
        """Choose one of the candidates, each equally often.

        Args:
            key: (seed, epoch, sample_id, view); the view is not looked at, so that both views of a sample agree on its partner.

        Returns:
            A sample id; the sample's own where it has no partner and `alone` is "self".

        Raises:
            AugmentationError: for an unknown id, or one without partner where `alone` is "error".
        """
        seed, epoch, sample_id, _ = key
        choices = self.candidates(sample_id)
        if choices:
            return choices[int(Draws([(seed, epoch, sample_id, 0)]).uniform("patient pair")[0] * len(choices))]
        if self.alone == "error":
            raise AugmentationError(sample_id, 'has no partner of its patient that fits; leave it out, or give alone="self"')
        return sample_id

    def _fits(self, own: int, other: int) -> bool:
        if self.dates == "any" or self.days is None:
            return True
        apart = abs(float(self.days[own]) - float(self.days[other]))
        if self.dates == "same":
            return apart == 0
        least, greatest = self.days_apart or (0.0, np.inf)
        return apart > 0 and least <= apart <= greatest


@dataclass(frozen=True, slots=True, kw_only=True)
class PairViews:
    """Two views for contrastive learning: of the same samples, or of two samples of a patient each.

    Attributes:
        first: augments the first view.
        second: augments the second view; None: as the first, by draws of its own.
    """

    first: Compose
    second: Compose | None = None

    def __call__(self, batch: Mapping[str, Any], partner: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make both views.

        Args:
            batch: as `Compose.batch` takes it, with keys (seed, epoch, sample_id, view).
            partner: a batch of as many samples that make the second view, with keys of their own (see `PatientPairs.partner`); None: `batch` itself.

        Returns:
            Two batches, row by row a positive pair, whose keys end in 2 * view and 2 * view + 1.

        Raises:
            AugmentationError: for batches of unequal size; see `Compose.batch`.
        """
        other = batch if partner is None else partner
        pairs = [batch_keys(b) for b in (batch, other)]
        if len(pairs[0]) != len(pairs[1]):
            raise AugmentationError("PairViews", f"{len(pairs[1])} partners do not pair with {len(pairs[0])} samples; give one each")
        first, second = (
            augment.batch({**b, "key": view_keys(keys, number, 2)})
            for augment, b, keys, number in zip((self.first, self.second or self.first), (batch, other), pairs, (0, 1), strict=True)
        )
        return first, second


def view_keys(keys: Sequence[SampleKey], number: int, count: int) -> list[SampleKey]:
    """Number one of `count` views of each sample: the key's last part v becomes v * count + number, so views of views stay apart.

    Args:
        keys: (seed, epoch, sample_id, view) of each sample.
        number: of the view, from 0.
        count: how many views each sample has.

    Returns:
        One key a sample, in the same order.
    """
    return [(seed, epoch, sample_id, view * count + number) for seed, epoch, sample_id, view in keys]
