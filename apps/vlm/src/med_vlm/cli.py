"""`med-vlm`: tune a vision-language model on image-report pairs."""

from med_vlm.config import VlmConfig
from medrun.cli import hydra_app


@hydra_app(
    VlmConfig,
    name="med-vlm",
    help="Tune an image encoder and a small language model on pairs of image and report, then write reports for held-out images and measure whether "
    "the model looks at the image at all. The dataset is a folder of shards with splits train and test (and val, where it has one). "
    "Stopped at any point, the same command goes on where it was.",
    errors=(
        "medio.errors.MedioError",
        "medmodels.errors.ModelError",
        "medvlm.errors.VisionLanguageError",
        "medeval.errors.EvalError",
    ),
    examples=(
        "med-vlm data=shards",
        "med-vlm data=shards encoder=runs/pretrain/artifact encoder_lr_scale=0.1 out=runs/vlm2",
        "med-vlm data=shards model=resunet_small decoder.layers=2 steps=300 tracker=none",
    ),
)
def main(config: VlmConfig) -> None:
    """Tune, write, measure."""
    # Imported here, so that `--help` is quick and torch comes after the threads are set.
    from med_vlm.tuning import run

    run(config)
