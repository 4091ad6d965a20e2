"""Vision-language models: image encoder, connector, decoder LLM."""

from medvlm.artifacts import load_report_task
from medvlm.configuration import EncoderConfig, VisionLanguageConfig
from medvlm.connectors import MLPConnector
from medvlm.errors import VisionLanguageError
from medvlm.losses import IGNORE, next_token_loss
from medvlm.modeling import VisionLanguageModel
from medvlm.report import ReportConfig, ReportTask
from medvlm.tokenization import build_tokenizer, wrap_tokenizer

__all__ = [
    "IGNORE",
    "EncoderConfig",
    "MLPConnector",
    "ReportConfig",
    "ReportTask",
    "VisionLanguageConfig",
    "VisionLanguageError",
    "VisionLanguageModel",
    "build_tokenizer",
    "load_report_task",
    "next_token_loss",
    "wrap_tokenizer",
]
