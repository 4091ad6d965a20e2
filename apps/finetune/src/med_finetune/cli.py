"""med-finetune: learn a clinical task and evaluate it on held-out patients."""

from med_finetune.config import FinetuneConfig
from medrun.cli import hydra_app


@hydra_app(
    FinetuneConfig,
    name="med-finetune",
    help="Learn segmentation or classification from a folder of shards, from a pretrained encoder or from nothing. The split val chooses the weights; "
    "the split test, if there is one, gives the figures in OUT/evaluation.json and OUT/evaluation.html. The model is left in OUT/artifact.",
    errors=(
        "medio.errors.MedioError",
        "medmodels.errors.ModelError",
        "medfinetune.errors.FinetuneError",
        "medaug.errors.AugmentationError",
        "medeval.errors.EvalError",
    ),
    examples=(
        "med-finetune data=shards task=segmentation task.classes=[background,lung,nodule] encoder=runs/mae/artifact",
        "med-finetune data=shards task=classification task.labels=[effusion,nodule] model=vit_small model_args={patch_size:[8,8]}",
        "med-finetune data=shards steps=200 run.max_minutes=10 run.tracker=none",
    ),
)
def main(config: FinetuneConfig) -> None:
    """Learn a clinical task and evaluate it on held-out patients."""
    # Imported here, so that --help is quick and torch comes after the threads are set.
    from med_finetune.learning import finetune

    finetune(config)


if __name__ == "__main__":
    main()
