"""Masked autoencoder: hide patches, encode the rest, paint the hidden ones."""

from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from medmodels import (
    Artifact,
    Backbone,
    Batch,
    Features,
    Preprocessing,
    Progress,
    StepOutput,
    TransformerBlock,
    initialise_transformer,
    pad_to_multiple,
    patch_grid,
    sincos_positions,
)
from medpretrain.errors import PretrainError
from medpretrain.losses.mae import mae_loss, patch_statistics
from medpretrain.masking import random_patch_mask
from medpretrain.patches import patchify, unpatchify


@dataclass(frozen=True, slots=True, kw_only=True)
class MAEConfig:
    """Options of `MaskedAutoencoder`.

    Attributes:
        mask_ratio: share of patches hidden.
        normalize_target: predict each patch in units of its own mean and spread, He et al. section 3.
        decoder_channels: width of the transformer decoder; a convolutional backbone has none.
        decoder_depth: its blocks.
        decoder_heads: its attention heads.
    """

    mask_ratio: float = 0.75
    normalize_target: bool = True
    decoder_channels: int = 256
    decoder_depth: int = 4
    decoder_heads: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise PretrainError(f"mask_ratio must lie between 0 and 1, got {self.mask_ratio}")
        if min(self.decoder_channels, self.decoder_depth, self.decoder_heads) < 1 or self.decoder_channels % self.decoder_heads:
            raise PretrainError(
                f"the decoder needs a depth of at least 1 and channels that its heads divide, got depth {self.decoder_depth}, "
                f"{self.decoder_channels} channels, {self.decoder_heads} heads"
            )


class MaskedAutoencoder(nn.Module):
    """MAE for any `Backbone`, 2D or 3D; a `TrainingTask`.

    A backbone with tokens encodes the visible ones alone, and a small transformer paints the hidden patches. A convolutional one
    sees the image with hidden patches blanked, and one linear layer on its coarsest map paints them (SimMIM). Loss on hidden patches only.

    Args:
        backbone: learned here, and all that `artifact` keeps.
        preprocessing: how the images were prepared; travels with the artifact.
        config: see `MAEConfig`.
        data_fingerprint: hash of the dataset's indexes, for the card.

    Source: He et al., CVPR 2022; for convolutions: Xie et al., "SimMIM", CVPR 2022.
    """

    def __init__(
        self, backbone: Backbone, preprocessing: Preprocessing, config: MAEConfig = MAEConfig(), *, data_fingerprint: str = ""
    ) -> None:
        super().__init__()
        if preprocessing.spatial_dims != backbone.spatial_dims:
            raise PretrainError(f"preprocessing is for {preprocessing.spatial_dims}D images and the backbone for {backbone.spatial_dims}D")
        self.backbone = backbone
        self.preprocessing = preprocessing
        self.config = config
        self.data_fingerprint = data_fingerprint
        self.patch = backbone.strides[-1]
        values = prod(self.patch) * backbone.in_channels
        self.decoder: nn.Module
        if _has_tokens(backbone):
            self.decoder = TokenDecoder(backbone.channels[-1], values, config)
        else:
            self.decoder = MapDecoder(backbone.channels[-1], values)

    def forward(self, batch: Batch, progress: Progress) -> StepOutput:
        """Run one step on `image` (B, C, *S) and `key`; the masks depend on the keys alone, so `progress` changes nothing."""
        image, mask = self._prepare(batch)
        loss = mae_loss(self._predict(image, mask, batch), patchify(image, self.patch), mask, normalize=self.config.normalize_target)
        return StepOutput(loss, logs={"masked": mask.float().mean()})

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Two groups: matrices and kernels decay; norms, biases and the mask token do not."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [
            {"params": [p for p in trained if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
        ]

    def after_step(self, progress: Progress) -> None:
        """MAE has no teacher: nothing follows an optimiser step."""

    def artifact(self) -> Artifact:
        """The encoder as it is now, with a card that says how it was learned."""
        card = replace(
            self.backbone.card,
            axes=self.preprocessing.axes,
            spacing_mm=self.preprocessing.spacing_mm,
            intensity=asdict(self.preprocessing.intensity),
            objective="mae",
            code_version=f"medpretrain {version('medpretrain')}",
            data_fingerprint=self.data_fingerprint,
            citations=("He et al., Masked autoencoders are scalable vision learners, CVPR 2022",),
        )
        assert isinstance(self.backbone, nn.Module)  # every Backbone is one; a Protocol cannot say so
        return Artifact(kind="encoder", module=self.backbone, card=card, preprocessing=self.preprocessing)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        """Paint the hidden patches into the image, for pictures.

        With `normalize_target` the true mean and spread of each hidden patch give the painting its brightness and contrast, as in the paper's figures.

        Args:
            batch: `image` (B, C, *S) and `key`, as for `forward`; the same patches are hidden.

        Returns:
            (B, C, *S) in the image's values: visible patches as they are, hidden ones as predicted.
        """
        image, mask = self._prepare(batch)
        patches = patchify(image, self.patch)
        painted = self._predict(image, mask, batch).to(patches.dtype)
        if self.config.normalize_target:
            mean, spread = patch_statistics(patches)
            painted = painted * spread + mean
        whole = unpatchify(torch.where(mask[..., None], painted, patches), self.patch, image.shape[2:])
        for axis, length in enumerate(batch["image"].shape[2:]):
            whole = whole.narrow(axis + 2, 0, length)
        return whole.contiguous()

    def _prepare(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The image padded to whole patches, and its mask (B, N)."""
        if "key" not in batch:
            raise PretrainError("the batch has no 'key': masks are drawn from (seed, epoch, sample_id, view) of each image")
        image = pad_to_multiple(batch["image"], self.patch)
        mask = random_patch_mask(patch_grid(image.shape[2:], self.patch), self.config.mask_ratio, batch["key"])
        return image, mask.to(image.device)

    def _predict(self, image: Tensor, mask: Tensor, batch: Batch) -> Tensor:
        """Predict all patches (B, N, P) from the visible ones."""
        features = self.backbone(image, mask=mask, spacing=batch.get("spacing"))
        predicted: Tensor = self.decoder(features, mask, patch_grid(image.shape[2:], self.patch))
        return predicted


class TokenDecoder(nn.Module):
    """A small transformer over visible tokens and mask tokens.

    Args:
        channels: of the encoder's tokens.
        values: P, pixels times channels of a patch.
        config: width, depth and heads.
    """

    def __init__(self, channels: int, values: int, config: MAEConfig) -> None:
        super().__init__()
        width = config.decoder_channels
        self.embed = nn.Linear(channels, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.blocks = nn.ModuleList(TransformerBlock(width, config.decoder_heads) for _ in range(config.decoder_depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, values)
        initialise_transformer(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, features: Features, mask: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Map visible tokens (B, V, C) and mask (B, N) to all patches (B, N, P)."""
        if features.tokens is None:
            raise PretrainError("the backbone gave no tokens")
        visible: Tensor = self.embed(features.tokens)
        # Both sides run row-major, so each row's visible tokens fall into its visible places in order.
        x = self.mask_token.to(visible.dtype).expand(*mask.shape, -1).masked_scatter(~mask[..., None], visible)
        x = x + sincos_positions(grid, x.shape[-1], x.device).to(x.dtype)
        for block in self.blocks:
            x = block(x)
        predicted: Tensor = self.head(self.norm(x))
        return predicted


class MapDecoder(nn.Module):
    """One linear layer at each position of the coarsest map.

    Args:
        channels: of the coarsest map.
        values: P, pixels times channels of a patch.
    """

    def __init__(self, channels: int, values: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels, values)
        initialise_transformer(self)

    def forward(self, features: Features, mask: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Map the coarsest map (B, C, *grid) to all patches (B, N, P)."""
        predicted: Tensor = self.head(features.maps[-1].flatten(2).transpose(1, 2))
        return predicted


def _has_tokens(backbone: Backbone) -> bool:
    """Whether the backbone works on tokens, asked with an image of two patches."""
    assert isinstance(backbone, nn.Module)  # every Backbone is one; a Protocol cannot say so
    size = (*backbone.strides[-1][:-1], 2 * backbone.strides[-1][-1])
    device = next(backbone.parameters()).device
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            features: Features = backbone(torch.zeros(1, backbone.in_channels, *size, device=device))
    finally:
        backbone.train(training)
    return features.tokens is not None
