"""2D and 3D backbones, decoders, registry and encoder cards."""

from medmodels.artifacts import read_artifact, save_artifact
from medmodels.cards import EncoderCard
from medmodels.contracts import Artifact, Backbone, Batch, Features, Gather, Progress, StepOutput, TrainingTask
from medmodels.decoders import UNetDecoder
from medmodels.encoders import load_encoder
from medmodels.errors import ArtifactError, EncoderMismatchError, ModelError, UnknownModelError
from medmodels.heads import LinearHead
from medmodels.keyed import SampleKey, key_digest, keyed_generator
from medmodels.loading import LoadReport
from medmodels.patches import pad_to_multiple, patch_grid
from medmodels.preprocessing import Intensity, Preprocessing, image_statistics
from medmodels.registry import create_model, list_models, register_model
from medmodels.resunet import ResidualEncoder
from medmodels.sliding import sliding_window
from medmodels.vit import TransformerBlock, VisionTransformer, initialise_transformer, sincos_positions

__all__ = [
    "Artifact",
    "ArtifactError",
    "Backbone",
    "Batch",
    "EncoderCard",
    "EncoderMismatchError",
    "Features",
    "Gather",
    "Intensity",
    "LinearHead",
    "LoadReport",
    "ModelError",
    "Preprocessing",
    "Progress",
    "ResidualEncoder",
    "SampleKey",
    "StepOutput",
    "TrainingTask",
    "TransformerBlock",
    "UNetDecoder",
    "UnknownModelError",
    "VisionTransformer",
    "create_model",
    "image_statistics",
    "initialise_transformer",
    "key_digest",
    "keyed_generator",
    "list_models",
    "load_encoder",
    "pad_to_multiple",
    "patch_grid",
    "read_artifact",
    "register_model",
    "save_artifact",
    "sincos_positions",
    "sliding_window",
]
