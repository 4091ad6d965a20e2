"""Residual encoder of a U-Net in 2D and 3D, from one class."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from medmodels.cards import EncoderCard
from medmodels.contracts import Backbone, Features
from medmodels.errors import ModelError
from medmodels.patches import check_image, check_mask, patch_grid, per_axis
from medmodels.registry import register_model

SLOPE = 0.01
"""Slope of the leaky ReLU below zero."""


class ResidualEncoder(nn.Module):
    """Stages of residual blocks with instance norm; one map a stage.

    A map of stride s along an axis of n pixels has ceil(n / s): no size needs padding. `spacing` is accepted for the contract and not used.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: of each stage, finest first.
        blocks: residual blocks of each stage.
        strides: downsampling at the entry of each stage, one number or one an axis (z, y, x); (1, 2, 2) keeps thick slices.
            None is 1 for the first stage and 2 for the others.

    Source: He et al., "Deep residual learning", CVPR 2016; as encoder of a U-Net: Isensee et al., "nnU-Net revisited", MICCAI 2024.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int = 1,
        channels: Sequence[int] = (16, 32, 64, 128),
        blocks: Sequence[int] = (1, 2, 2, 2),
        strides: Sequence[int | Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        steps = strides if strides is not None else [1] + [2] * (len(channels) - 1)
        if not channels or not len(channels) == len(blocks) == len(steps) or min(blocks) < 1:
            raise ModelError(f"channels, blocks and strides need one entry a stage, got {tuple(channels)}, {tuple(blocks)}, {tuple(steps)}")
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.channels: tuple[int, ...] = tuple(channels)
        entries = [per_axis(step, spatial_dims, "strides") for step in steps]
        total = (1,) * spatial_dims
        cumulative: list[tuple[int, ...]] = []
        for entry in entries:
            total = tuple(t * s for t, s in zip(total, entry, strict=True))
            cumulative.append(total)
        self.strides: tuple[tuple[int, ...], ...] = tuple(cumulative)
        self.patch_size = total
        self.card = EncoderCard(arch="")
        self.stem = ConvNorm(spatial_dims, in_channels, self.channels[0])
        self.stages = nn.ModuleList()
        width = self.channels[0]
        for out, count, entry in zip(self.channels, blocks, entries, strict=True):
            stage = nn.Sequential(ResidualBlock(spatial_dims, width, out, entry))
            for _ in range(count - 1):
                stage.append(ResidualBlock(spatial_dims, out, out, (1,) * spatial_dims))
            self.stages.append(stage)
            width = out

    def forward(self, x: Tensor, *, mask: Tensor | None = None, spacing: Tensor | None = None) -> Features:
        """Encode x (B, C, *S).

        Args:
            x: image (B, C, *S).
            mask: (B, N) bool over the row-major grid of the coarsest map, True is hidden; hidden patches of the image are set to 0.
            spacing: (B, dims) mm, not used.

        Raises:
            ModelError: for a wrong number of axes or channels, a mask that does not fit the grid, or an image of a single patch,
                whose coarsest map would be one pixel: instance norm has nothing to normalise there.
        """
        check_image(x, self.spatial_dims, self.in_channels)
        size = x.shape[2:]
        grid = patch_grid(size, self.patch_size)
        if prod(grid) == 1:
            raise ModelError(f"an image of {tuple(size)} is a single patch of {self.patch_size}; pad it, or use fewer stages")
        if mask is not None:
            check_mask(mask, len(x), grid)
            x = x.masked_fill(_pixel_mask(mask, grid, self.patch_size, tuple(size)), 0.0)
        x = leaky_relu(self.stem(x), SLOPE)
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Features(maps=tuple(maps), tokens=None, pooled=x.mean(dim=tuple(range(2, x.ndim))))

    def layer_index(self, name: str) -> int:
        """Depth of a parameter: 0 the stem, then 1, 2, ... for each residual block."""
        parts = name.split(".")
        if parts[0] == "stem":
            return 0
        if parts[0] == "stages" and len(parts) > 2:
            before = sum(len(stage) for stage in list(self.stages)[: int(parts[1])] if isinstance(stage, nn.Sequential))
            return before + int(parts[2]) + 1
        raise ModelError(f"no parameter {name!r} in this ResidualEncoder")

    def shardable_blocks(self) -> Sequence[nn.Module]:
        """The residual blocks."""
        return [block for stage in self.stages if isinstance(stage, nn.Sequential) for block in stage]


class ConvNorm(nn.Module):
    """Convolution and instance norm.

    Args:
        spatial_dims: 2 or 3.
        inputs: channels in.
        outputs: channels out.
        stride: one an axis, None for 1.
        kernel: odd kernel size along every axis.
    """

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, stride: Sequence[int] | None = None, kernel: int = 3) -> None:
        super().__init__()
        convolution = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        step = tuple(stride) if stride is not None else (1,) * spatial_dims
        self.conv = convolution(inputs, outputs, kernel, stride=step, padding=kernel // 2, bias=False)  # type: ignore[arg-type]  # torch types a size as a tuple of fixed length
        # A group norm of one channel a group is the affine instance norm; torch's CPU kernel for it runs forward in a third of the time.
        self.norm = nn.GroupNorm(outputs, outputs)
        nn.init.kaiming_normal_(self.conv.weight, a=SLOPE, nonlinearity="leaky_relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, *S) to (B, outputs, *ceil(S / stride))."""
        y: Tensor = self.norm(self.conv(x))
        return y


class ResidualBlock(nn.Module):
    """Two 3-wide convolutions beside a shortcut; the shortcut is a strided 1-wide convolution where the shape changes.

    Args:
        spatial_dims: 2 or 3.
        inputs: channels in.
        outputs: channels out.
        stride: of the first convolution, one an axis.
    """

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.first = ConvNorm(spatial_dims, inputs, outputs, stride)
        self.second = ConvNorm(spatial_dims, outputs, outputs)
        same = inputs == outputs and max(stride) == 1
        self.shortcut: nn.Module = nn.Identity() if same else ConvNorm(spatial_dims, inputs, outputs, stride, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, *S) to (B, outputs, *ceil(S / stride))."""
        y: Tensor = self.second(leaky_relu(self.first(x), SLOPE))
        return leaky_relu(y + self.shortcut(x), SLOPE)


def _pixel_mask(mask: Tensor, grid: Sequence[int], patch: Sequence[int], size: Sequence[int]) -> Tensor:
    """Spread a patch mask (B, N) over the pixels: (B, 1, *size)."""
    pixels = mask.reshape(len(mask), 1, *grid)
    for axis, (step, length) in enumerate(zip(patch, size, strict=True)):
        pixels = pixels.repeat_interleave(step, dim=axis + 2).narrow(axis + 2, 0, length)
    return pixels


@register_model
def resunet_tiny(*, spatial_dims: int, in_channels: int = 1, strides: Sequence[int | Sequence[int]] | None = None) -> Backbone:
    """Four stages of 8 to 64 channels, one block each: for tests and the smallest machines."""
    return ResidualEncoder(
        spatial_dims=spatial_dims, in_channels=in_channels, channels=(8, 16, 32, 64), blocks=(1, 1, 1, 1), strides=strides
    )


@register_model
def resunet_small(*, spatial_dims: int, in_channels: int = 1, strides: Sequence[int | Sequence[int]] | None = None) -> Backbone:
    """Four stages of 16 to 128 channels: trains on a CPU."""
    return ResidualEncoder(
        spatial_dims=spatial_dims, in_channels=in_channels, channels=(16, 32, 64, 128), blocks=(1, 2, 2, 2), strides=strides
    )


@register_model
def resunet_base(*, spatial_dims: int, in_channels: int = 1, strides: Sequence[int | Sequence[int]] | None = None) -> Backbone:
    """Six stages of 32 to 320 (3D) or 512 (2D) channels: for a GPU."""
    widest = 320 if spatial_dims == 3 else 512
    channels = (32, 64, 128, 256, widest, widest)
    return ResidualEncoder(
        spatial_dims=spatial_dims, in_channels=in_channels, channels=channels, blocks=(1, 3, 4, 6, 6, 6), strides=strides
    )
