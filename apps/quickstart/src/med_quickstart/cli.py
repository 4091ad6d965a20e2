"""`med-quickstart`: the whole chain in one command."""

from med_quickstart.config import QuickstartConfig
from medrun.cli import hydra_app


@hydra_app(
    QuickstartConfig,
    name="med-quickstart",
    help="From images to a deployed, evaluated model in one command: index, de-identify, shard, pretrain, fine-tune, evaluate on held-out patients, "
    "export, check parity, register, and run on a new study. Without settings it makes synthetic patients. "
    "Stopped at any point, the same command goes on where it was.",
    errors=(
        "medio.errors.MedioError",
        "medeval.errors.EvalError",
        "medmodels.errors.ModelError",
        "meddeploy.errors.DeployError",
        "medfinetune.errors.FinetuneError",
    ),
    examples=(
        "med-quickstart",
        "med-quickstart source=folder source.path=DIR",
        "med-quickstart source=folder source.path=DIR recipe=xray_classification out=runs/films",
    ),
)
def main(config: QuickstartConfig) -> None:
    """Run the whole chain."""
    # Imported here, so that `--help` is quick and torch comes after the threads are set.
    from med_quickstart.pipeline import run

    run(config)
