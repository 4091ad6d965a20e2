"""Magnetic resonance: the signal of a tissue under a spin-echo or inversion-recovery sequence."""

import math
from dataclasses import dataclass

from medphantom.materials import Material


@dataclass(frozen=True, slots=True, kw_only=True)
class MRContrast:
    """A sequence's timing.

    Attributes:
        name: what the picture is called.
        tr_ms: repetition time.
        te_ms: echo time.
        ti_ms: inversion time, or None for a plain spin echo.
    """

    name: str
    tr_ms: float
    te_ms: float
    ti_ms: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.te_ms < self.tr_ms < math.inf:
            raise ValueError(f"MRContrast {self.name!r}: needs 0 <= te_ms < tr_ms, got te_ms {self.te_ms} and tr_ms {self.tr_ms}")
        if self.ti_ms is not None and not 0 < self.ti_ms < self.tr_ms:
            raise ValueError(
                f"MRContrast {self.name!r}: ti_ms must lie between 0 and tr_ms {self.tr_ms}, got {self.ti_ms}; use None for no inversion"
            )

    def signal(self, material: Material) -> float:
        """Magnitude of the tissue's signal as a share of fully relaxed water's, 0 to 1.

        Source: Bloch equations for 90 or 180-90 pulses with TE much shorter than TR: S = PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2),
        without the middle term and with a minus where nothing is inverted.
        """
        if self.ti_ms is None:
            relaxed = 1 - math.exp(-self.tr_ms / material.t1_ms)
        else:
            relaxed = abs(1 - 2 * math.exp(-self.ti_ms / material.t1_ms) + math.exp(-self.tr_ms / material.t1_ms))
        return material.pd * relaxed * math.exp(-self.te_ms / material.t2_ms)


def nulling_ti_ms(t1_ms: float, tr_ms: float) -> float:
    """Inversion time at which a tissue of `t1_ms` gives no signal: T1 ln(2 / (1 + exp(-TR / T1)))."""
    return t1_ms * math.log(2 / (1 + math.exp(-tr_ms / t1_ms)))


T1W = MRContrast(name="T1w", tr_ms=500, te_ms=12)
T2W = MRContrast(name="T2w", tr_ms=4000, te_ms=90)
FLAIR = MRContrast(name="FLAIR", tr_ms=9000, te_ms=110, ti_ms=nulling_ti_ms(4000, 9000))
STIR = MRContrast(name="STIR", tr_ms=4000, te_ms=50, ti_ms=nulling_ti_ms(343, 4000))
CONTRASTS = (T1W, T2W, FLAIR, STIR)
