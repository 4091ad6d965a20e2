"""med-pretrain: learn an encoder from images without labels."""

from med_pretrain.config import PretrainConfig
from medrun.cli import hydra_app


@hydra_app(
    PretrainConfig,
    name="med-pretrain",
    help="Learn an encoder from the images of a folder of shards, without labels. The encoder is left in OUT/artifact, for med-finetune encoder=OUT/artifact.",
    errors=(
        "medio.errors.MedioError",
        "medmodels.errors.ModelError",
        "medpretrain.errors.PretrainError",
        "medaug.errors.AugmentationError",
    ),
    examples=(
        "med-pretrain data=shards out=runs/mae",
        "med-pretrain data=shards model=vit_small model_args={patch_size:[8,8,8]} input.patch_size=[64,64,64] run.precision=bf16",
        "torchrun --nproc_per_node 4 -m med_pretrain.cli data=shards batch_size=64",
    ),
)
def main(config: PretrainConfig) -> None:
    """Learn an encoder from images without labels."""
    # Imported here, so that --help is quick and torch comes after the threads are set.
    from med_pretrain.learning import pretrain

    pretrain(config)


if __name__ == "__main__":
    main()
