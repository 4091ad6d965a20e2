"""A trained report writer from its folder."""

from pathlib import Path

from tokenizers import Tokenizer

from medmodels import ArtifactError, EncoderCard, Preprocessing, read_artifact
from medvlm.configuration import VisionLanguageConfig
from medvlm.modeling import VisionLanguageModel
from medvlm.report import ReportConfig, ReportTask
from medvlm.tokenization import wrap_tokenizer


def load_report_task(folder: Path | str) -> ReportTask:
    """Load what `medmodels.save_artifact(task.artifact(), folder)` wrote; every weight must match.

    Args:
        folder: an artifact of kind `vlm`.

    Returns:
        The task, in evaluation mode.

    Raises:
        medmodels.ArtifactError: where the folder is no artifact, of another kind, or its weights do not fit.
    """
    state, metadata = read_artifact(folder)
    if metadata["kind"] != "vlm":
        raise ArtifactError(
            f"{folder}: holds an artifact of kind {metadata['kind']!r}, not 'vlm'; load it with the package that trained it"
        )
    config = metadata["config"]
    model = VisionLanguageModel(VisionLanguageConfig.from_dict(config["model"]))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ArtifactError(f"{folder}: weights do not fit the model of its metadata ({error}); save the artifact again") from error
    model.backbone.card = EncoderCard.from_dict(metadata["card"])
    task = ReportTask(
        model,
        wrap_tokenizer(Tokenizer.from_str(config["tokenizer"])),
        preprocessing=Preprocessing.from_dict(metadata["preprocessing"]),
        config=ReportConfig(**config["report"]),
        data_fingerprint=metadata["card"].get("data_fingerprint", ""),
    )
    return task.eval()
