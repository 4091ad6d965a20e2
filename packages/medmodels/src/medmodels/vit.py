"""Vision transformer in 2D and 3D, from one class."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from medmodels.cards import EncoderCard
from medmodels.contracts import Backbone, Features
from medmodels.errors import ModelError
from medmodels.patches import check_image, check_mask, pad_to_multiple, patch_grid, per_axis
from medmodels.registry import register_model


class VisionTransformer(nn.Module):
    """A plain ViT: patch embedding, fixed sine-cosine positions of the image's own grid, pre-norm blocks, mean pooling.

    There is no class token: `pooled` is the mean of the normalised tokens. Any image size is taken; one that is no multiple of the
    patch is extended at its far end, repeating the border. `spacing` is accepted for the contract and not used: positions count patches.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        patch_size: pixels a patch, one number or one an axis (z, y, x).
        embed_dim: channels of a token; a multiple of `heads`.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of a block's MLP over `embed_dim`.
        layer_scale: initial value of a learned scale of each residual branch; None leaves it out.

    Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021; LayerScale: Touvron et al., ICCV 2021.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int = 1,
        patch_size: int | Sequence[int] = 16,
        embed_dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        mlp_ratio: float = 4.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        if embed_dim % heads or embed_dim < 2 * spatial_dims:
            raise ModelError(f"embed_dim must be a multiple of heads and at least {2 * spatial_dims}, got {embed_dim} with {heads} heads")
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.patch_size = per_axis(patch_size, spatial_dims, "patch_size")
        self.channels: tuple[int, ...] = (embed_dim,)
        self.strides: tuple[tuple[int, ...], ...] = (self.patch_size,)
        self.card = EncoderCard(arch="")
        convolution = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.patch_embed = convolution(in_channels, embed_dim, self.patch_size, stride=self.patch_size)  # type: ignore[arg-type]  # torch types a size as a tuple of fixed length
        self.blocks = nn.ModuleList(TransformerBlock(embed_dim, heads, mlp_ratio, layer_scale) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        initialise_transformer(self)
        nn.init.xavier_uniform_(self.patch_embed.weight.view(embed_dim, -1))

    def forward(self, x: Tensor, *, mask: Tensor | None = None, spacing: Tensor | None = None) -> Features:
        """Encode x (B, C, *S).

        Args:
            x: image (B, C, *S).
            mask: (B, N) bool over the row-major patch grid, True is hidden; as many hidden in every row. Hidden patches never enter
                a block: `tokens` then holds the visible ones in order, and `maps` is empty.
            spacing: (B, dims) mm, not used.

        Raises:
            ModelError: for a wrong number of axes or channels, or a mask that does not fit the grid.
        """
        check_image(x, self.spatial_dims, self.in_channels)
        grid = patch_grid(x.shape[2:], self.patch_size)
        embedded: Tensor = self.patch_embed(pad_to_multiple(x, self.patch_size))
        tokens = embedded.flatten(2).transpose(1, 2)
        tokens = tokens + sincos_positions(grid, tokens.shape[-1], tokens.device).to(tokens.dtype)
        if mask is not None:
            check_mask(mask, len(x), grid)
            tokens = keep_visible(tokens, mask)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        maps = () if mask is not None else (tokens.transpose(1, 2).unflatten(2, grid),)
        return Features(maps=maps, tokens=tokens, pooled=tokens.mean(dim=1))

    def layer_index(self, name: str) -> int:
        """Depth of a parameter: 0 the patch embedding, i + 1 block i, depth + 1 the last norm."""
        part, _, rest = name.partition(".")
        if part == "patch_embed":
            return 0
        if part == "blocks":
            return int(rest.partition(".")[0]) + 1
        if part == "norm":
            return len(self.blocks) + 1
        raise ModelError(f"no parameter {name!r} in this VisionTransformer")

    def shardable_blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks."""
        return list(self.blocks)


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP over tokens (B, N, C).

    Args:
        channels: C.
        heads: attention heads; C is a multiple.
        mlp_ratio: hidden width of the MLP over C.
        layer_scale: initial value of the branches' learned scale, None for none.
    """

    def __init__(self, channels: int, heads: int, mlp_ratio: float = 4.0, layer_scale: float | None = None) -> None:
        super().__init__()
        hidden = int(channels * mlp_ratio)
        self.heads = heads
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, hidden)
        self.contract = nn.Linear(hidden, channels)
        self.scale1 = None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))
        self.scale2 = None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C)."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attended: Tensor = self.projection(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + (attended if self.scale1 is None else attended * self.scale1)
        mixed: Tensor = self.contract(gelu(self.expand(self.norm2(x))))
        return x + (mixed if self.scale2 is None else mixed * self.scale2)


def sincos_positions(grid: Sequence[int], channels: int, device: torch.device | None = None) -> Tensor:
    """Fixed position embedding of a grid.

    Each axis takes an equal share of the channels, z first: sines then cosines of the patch index over wavelengths from 2 pi to
    20000 pi. Channels that do not divide stay zero.

    Args:
        grid: patches along (z, y, x) or (y, x).
        channels: of a token.
        device: where to.

    Returns:
        (N, channels) float32, row-major (z slowest, x fastest).

    Source: Vaswani et al., NeurIPS 2017; for grids: He et al., CVPR 2022.
    """
    half = channels // (2 * len(grid))
    frequency = torch.exp(torch.arange(half, dtype=torch.float32, device=device) * (-math.log(10000.0) / half))
    parts: list[Tensor] = []
    for axis, count in enumerate(grid):
        angle = torch.arange(count, dtype=torch.float32, device=device)[:, None] * frequency
        shape = [1] * len(grid)
        shape[axis] = count
        parts.append(torch.cat([angle.sin(), angle.cos()], dim=1).reshape(*shape, 2 * half).expand(*grid, 2 * half))
    rest = channels - 2 * half * len(grid)
    if rest:
        parts.append(parts[0].new_zeros(*grid, rest))
    return torch.cat(parts, dim=-1).reshape(-1, channels)


def keep_visible(tokens: Tensor, mask: Tensor) -> Tensor:
    """Take the tokens (B, N, C) where mask (B, N) is False, in their order, as (B, V, C); ModelError where rows differ in number."""
    visible = (~mask).sum(dim=1)
    kept = int(visible[0])
    if kept == 0 or bool((visible != kept).any()):
        raise ModelError(f"every row of the mask must leave the same number of patches visible, at least one, got {visible.tolist()}")
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)[:, :kept]
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1]))


def initialise_transformer(module: nn.Module) -> None:
    """Draw all linear weights from a normal of deviation 0.02 cut at two deviations, and set their biases to zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02, a=-0.04, b=0.04)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


@register_model
def vit_tiny(
    *, spatial_dims: int, in_channels: int = 1, patch_size: int | Sequence[int] = 16, depth: int = 12, layer_scale: float | None = None
) -> Backbone:
    """ViT-Ti: 192 channels, 3 heads."""
    return VisionTransformer(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        patch_size=patch_size,
        embed_dim=192,
        depth=depth,
        heads=3,
        layer_scale=layer_scale,
    )


@register_model
def vit_small(
    *, spatial_dims: int, in_channels: int = 1, patch_size: int | Sequence[int] = 16, depth: int = 12, layer_scale: float | None = None
) -> Backbone:
    """ViT-S: 384 channels, 6 heads."""
    return VisionTransformer(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        patch_size=patch_size,
        embed_dim=384,
        depth=depth,
        heads=6,
        layer_scale=layer_scale,
    )


@register_model
def vit_base(
    *, spatial_dims: int, in_channels: int = 1, patch_size: int | Sequence[int] = 16, depth: int = 12, layer_scale: float | None = None
) -> Backbone:
    """ViT-B: 768 channels, 12 heads."""
    return VisionTransformer(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        patch_size=patch_size,
        embed_dim=768,
        depth=depth,
        heads=12,
        layer_scale=layer_scale,
    )
