"""An image encoder, a connector and a decoder LLM as one Hugging Face model."""

import math
from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from medmodels import Backbone, create_model
from medvlm.configuration import VisionLanguageConfig
from medvlm.connectors import MLPConnector
from medvlm.errors import VisionLanguageError


class VisionLanguageModel(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    """Reads an image and writes text.

    The image's tokens take the places of `config.image_token_id` in `input_ids`: as many as `num_image_tokens` says, in each row. `generate`, the KV cache,
    `save_pretrained`, `from_pretrained` and PEFT work as with any `PreTrainedModel`.

    Args:
        config: what to build.
        encoder: a ready encoder of the architecture that `config.vision_config` names, e.g. from `medmodels.load_encoder`; None builds one. Its weights are kept.
        decoder: a ready decoder of `config.text_config`; None builds one.
    """

    config_class = VisionLanguageConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]  # noqa: RUF012 - Hugging Face's own declaration
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012 - Hugging Face's own declaration

    def __init__(self, config: VisionLanguageConfig, *, encoder: Backbone | None = None, decoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        vision = config.vision_config
        built = encoder or create_model(vision.arch, spatial_dims=vision.spatial_dims, in_channels=vision.in_channels, **vision.arch_kwargs)
        self.backbone = built  # by the name that medmodels.load_encoder looks for in artifacts
        self.decoder = decoder if decoder is not None else AutoModelForCausalLM.from_config(config.text_config)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        self.connector = MLPConnector(built.channels[-1], int(config.text_config.hidden_size))
        for module in cast(nn.Module, built).modules():
            # Initialised by its own rules or trained; only on the meta device (from_pretrained) are there no weights yet.
            module._is_hf_initialized = not any(p.is_meta for p in module.parameters())  # type: ignore[assignment]
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        # Image tokens are read, never written.
        self.generation_config.suppress_tokens = [config.image_token_id]

    def get_input_embeddings(self) -> nn.Module:
        """The decoder's table of token embeddings."""
        return cast(nn.Module, self.decoder.get_input_embeddings())

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the decoder's table of token embeddings."""
        self.decoder.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The decoder's last linear layer."""
        return cast(nn.Module, self.decoder.get_output_embeddings())

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the decoder's last linear layer."""
        self.decoder.set_output_embeddings(new_embeddings)

    def num_image_tokens(self, size: Sequence[int]) -> int:
        """Tokens of an image of size (D, H, W) or (H, W): the cells of the encoder's coarsest grid."""
        return math.prod(math.ceil(n / s) for n, s in zip(size, self.backbone.strides[-1], strict=True))

    def embed_image(self, pixel_values: Tensor) -> Tensor:
        """Encode images for the decoder.

        Args:
            pixel_values: (B, C, *S), preprocessed.

        Returns:
            (B, N, hidden): tokens row-major over the grid, z slowest; of a convolutional net its coarsest map.
        """
        features = self.backbone(pixel_values.to(self.connector.norm.weight.dtype))
        tokens = features.tokens if features.tokens is not None else features.maps[-1].flatten(2).transpose(1, 2)
        return cast(Tensor, self.connector(tokens))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Run the decoder on text with images in it.

        Args:
            input_ids: (B, L) token ids, the image's places marked by `config.image_token_id`.
            pixel_values: (B, C, *S) preprocessed images, one a row; needed where `input_ids` has image tokens.
            attention_mask: (B, L) 1 for tokens and 0 for padding, on either side; past tokens included when there is a cache.
            position_ids: (B, L); None counts the tokens that `attention_mask` shows.
            past_key_values: cache of what was read before.
            inputs_embeds: (B, L, hidden) instead of `input_ids`; images then must be in it.
            labels: (B, L) token ids, -100 where nothing is to be learned; shifted inside.
            use_cache: whether to return the cache.
            logits_to_keep: compute the last so many logits only; 0 for all.
            kwargs: handed to the decoder.

        Returns:
            `loss` where there are labels, `logits` (B, L, vocabulary), `past_key_values`.

        Raises:
            VisionLanguageError: where images and image tokens do not match.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise VisionLanguageError("give either input_ids or inputs_embeds")
        if inputs_embeds is None:
            assert input_ids is not None  # checked above
            inputs_embeds = self._merge(input_ids, pixel_values)
        elif pixel_values is not None:
            raise VisionLanguageError("inputs_embeds leave no places for pixel_values; give input_ids, or embed the images first")
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            # Left padding must not move the text: decoders with absolute positions would read it differently.
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp_min(0)[:, -inputs_embeds.shape[1] :]
        return cast(
            CausalLMOutputWithPast,
            self.decoder(
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=past_key_values,
                labels=labels,
                use_cache=use_cache,
                logits_to_keep=logits_to_keep,
                **kwargs,
            ),
        )

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Choose what `forward` gets at one step of `generate`: the image only with the tokens that stand for it, the cache holds it afterwards."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(*args, **kwargs)  # type: ignore[misc]  # its own type asks for a protocol that no class declares
        ids = inputs.get("input_ids")
        if ids is not None and not bool((ids == self.config.image_token_id).any()):
            inputs["pixel_values"] = None
        return inputs

    def _merge(self, input_ids: Tensor, pixel_values: Tensor | None) -> Tensor:
        """Embed the text and put the images at their places: (B, L, hidden)."""
        embedded: Tensor = self.get_input_embeddings()(input_ids)
        places = input_ids == self.config.image_token_id
        if pixel_values is None:
            if bool(places.any()):
                raise VisionLanguageError("input_ids hold image tokens but there are no pixel_values; give one image a row")
            return embedded
        images = self.embed_image(pixel_values).to(embedded.dtype)
        counts = places.sum(1)
        if len(images) != len(input_ids) or bool((counts != images.shape[1]).any()):
            raise VisionLanguageError(
                f"{len(images)} images of {images.shape[1]} tokens do not fit rows with {counts.tolist()} image tokens; "
                f"put num_image_tokens(size) of token {self.config.image_token_id} in each row"
            )
        return embedded.masked_scatter(places[..., None], images)
