"""One metric family a file; each takes plain arrays and knows nothing of cases, patients or intervals."""

from medeval.metrics.agreement import cohen_kappa, kappa_interval, proportion
from medeval.metrics.calibration import ReliabilityBin, brier, ece, reliability
from medeval.metrics.overlap import dice
from medeval.metrics.ranking import auroc, average_precision, roc_curve
from medeval.metrics.surface import hd95, nsd, surface_distances

__all__ = [
    "ReliabilityBin",
    "auroc",
    "average_precision",
    "brier",
    "cohen_kappa",
    "dice",
    "ece",
    "hd95",
    "kappa_interval",
    "nsd",
    "proportion",
    "reliability",
    "roc_curve",
    "surface_distances",
]
