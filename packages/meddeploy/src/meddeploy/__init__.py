"""Export, verify and run trained models: ONNX bundles and predictors."""

from meddeploy.bundle import Bundle
from meddeploy.errors import BackendError, BundleError, DeployError, ExportError, InputError
from meddeploy.export import export
from meddeploy.prediction import Prediction
from meddeploy.predictor import Predictor
from meddeploy.preparation import prepare
from meddeploy.study import segment_study
from meddeploy.verify import ParityReport, verify

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "DeployError",
    "ExportError",
    "InputError",
    "ParityReport",
    "Prediction",
    "Predictor",
    "export",
    "prepare",
    "segment_study",
    "verify",
]
