"""What a vision-language model is made of, as Hugging Face configurations."""

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, LlamaConfig, PretrainedConfig

from medvlm.errors import VisionLanguageError


class EncoderConfig(PretrainedConfig):  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    """An image encoder of `medmodels`, by name and arguments.

    Args:
        arch: name in the registry of `medmodels`, see `medmodels.list_models`.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        arch_kwargs: the model's own arguments, plain JSON values, e.g. `{"patch_size": 16}`.
        kwargs: of `PretrainedConfig`.
    """

    model_type = "medmodels_encoder"

    def __init__(
        self,
        arch: str = "vit_tiny",
        spatial_dims: int = 2,
        in_channels: int = 1,
        arch_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.arch = arch
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.arch_kwargs = dict(arch_kwargs or {})
        super().__init__(**kwargs)


class VisionLanguageConfig(PretrainedConfig):  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    """Image encoder, connector and decoder.

    Args:
        vision_config: an `EncoderConfig` or its dict; None is a 2D `vit_tiny`.
        text_config: configuration, or its dict with `model_type`, of any decoder that `AutoModelForCausalLM` builds; None is a small Llama
            (4 layers of 256 channels, about 4 million weights).
        connector: `mlp`, see `medvlm.connectors.MLPConnector`.
        image_token_id: the token whose places in `input_ids` the image's tokens take.
        kwargs: of `PretrainedConfig`.

    Raises:
        VisionLanguageError: for an unknown connector, a text_config without model_type, or an image token outside the vocabulary.
    """

    model_type = "medvlm"
    sub_configs = {"vision_config": EncoderConfig, "text_config": AutoConfig}  # noqa: RUF012 - Hugging Face's own declaration

    def __init__(
        self,
        vision_config: EncoderConfig | Mapping[str, Any] | None = None,
        text_config: PretrainedConfig | Mapping[str, Any] | None = None,
        connector: str = "mlp",
        image_token_id: int = 3,
        **kwargs: Any,
    ) -> None:
        if connector != "mlp":
            raise VisionLanguageError(f"no connector {connector!r}; there is 'mlp'")
        self.vision_config = vision_config if isinstance(vision_config, EncoderConfig) else EncoderConfig(**(vision_config or {}))
        self.text_config = _decoder_config(text_config)
        self.connector = connector
        self.image_token_id = image_token_id
        vocabulary = int(self.text_config.vocab_size)
        if not 0 <= image_token_id < vocabulary:
            raise VisionLanguageError(
                f"image_token_id {image_token_id} lies outside the decoder's vocabulary of {vocabulary}; take the tokenizer's id of <image>"
            )
        # The decoder ties its own embeddings; the composite has none of its own.
        kwargs["tie_word_embeddings"] = bool(getattr(self.text_config, "tie_word_embeddings", False))
        super().__init__(**kwargs)


def _decoder_config(config: PretrainedConfig | Mapping[str, Any] | None) -> PretrainedConfig:
    """Make a configuration of what was given."""
    if isinstance(config, PretrainedConfig):
        return config
    if config is None:
        return LlamaConfig(
            vocab_size=1024,
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=2048,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=True,
        )
    values = dict(config)
    if "model_type" not in values:
        raise VisionLanguageError("text_config has no model_type; name the decoder's family, e.g. 'llama'")
    return AutoConfig.for_model(values.pop("model_type"), **values)
