"""What med-pretrain does: compose, fit, say where the result is."""

from dataclasses import asdict

from med_pretrain.config import PretrainConfig
from medmodels import create_model
from medpretrain import MAEConfig, MaskedAutoencoder
from medrun.cli import ConfigError, say
from medrun.engine import FitResult, fit
from medrun.engine_config import EngineConfig
from medrun.inputs import facts_of, open_shards, preprocessing_of, train_data
from medrun.seeding import seed_everything


def pretrain(config: PretrainConfig) -> FitResult:
    """Learn an encoder from the images of a dataset.

    Raises:
        ConfigError: for values that do not fit the data or the model.
    """
    samples = open_shards(config.data, config.split, keys=("image",))
    facts = facts_of(samples)
    preprocessing = preprocessing_of(facts, config.input)
    seed_everything(config.seed)
    try:
        objective = MAEConfig(**asdict(config.objective))
        backbone = create_model(config.model, spatial_dims=facts.spatial_dims, in_channels=facts.channels, **(config.model_args or {}))
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error
    task = MaskedAutoencoder(backbone, preprocessing, objective, data_fingerprint=samples.version)
    train = train_data(
        config.data,
        config.split,
        preprocessing,
        config.input,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        keys=("image",),
    )
    engine = EngineConfig.of(config.run, out=config.out, max_steps=config.steps, name="pretrain", lr=config.lr, seed=config.seed)
    result = fit(task, train, config=engine)
    say(f"encoder: {result.artifact}", f"page: {result.page}", f"next: med-finetune data={config.data} encoder={result.artifact}")
    return result
