"""Metrics with patient-clustered intervals and an honest report page."""

from medeval.bootstrap import Estimate
from medeval.compare import compare
from medeval.errors import EvalError, LengthError, ShapeError, ValueRangeError
from medeval.evaluation import Absent, Evaluation, evaluate
from medeval.metrics.agreement import cohen_kappa, kappa_interval, proportion
from medeval.metrics.calibration import brier, ece, reliability
from medeval.metrics.overlap import dice
from medeval.metrics.ranking import auroc, average_precision, roc_curve
from medeval.metrics.surface import hd95, nsd, surface_distances
from medeval.overlay import overlay

__all__ = [
    "Absent",
    "Estimate",
    "EvalError",
    "Evaluation",
    "LengthError",
    "ShapeError",
    "ValueRangeError",
    "auroc",
    "average_precision",
    "brier",
    "cohen_kappa",
    "compare",
    "dice",
    "ece",
    "evaluate",
    "hd95",
    "kappa_interval",
    "nsd",
    "overlay",
    "proportion",
    "reliability",
    "roc_curve",
    "surface_distances",
]
