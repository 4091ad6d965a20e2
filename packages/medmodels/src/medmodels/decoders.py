"""U-Net decoder over any backbone."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from medmodels.contracts import Backbone, Features
from medmodels.errors import ModelError
from medmodels.resunet import SLOPE, ConvNorm


class UNetDecoder(nn.Module):
    """From a backbone's maps to logits at input resolution.

    From the coarsest map up, each level is doubled by a transposed convolution, joined with the backbone's map of that stride where there
    is one, and mixed by a convolution. Below the finest map's stride (a ViT has one map, at its patch) further levels halve the stride until 1.

    Args:
        backbone: whose `channels`, `strides`, `spatial_dims` and `in_channels` the decoder is built for; not kept.
        out_channels: K, channels of the logits.
        channels: width of each level, finest (input resolution) first; None takes the backbone's widths where it has maps, and halves
            from there on, not below 16.
        image_skip: True joins the image itself at input resolution; `forward` then needs it. Worth having for a ViT, which keeps no fine map.

    Source: Ronneberger et al., "U-Net", MICCAI 2015; one convolution a level: Isensee et al., MICCAI 2024.
    """

    def __init__(self, backbone: Backbone, out_channels: int, *, channels: Sequence[int] | None = None, image_skip: bool = False) -> None:
        super().__init__()
        if out_channels < 1:
            raise ModelError(f"out_channels must be at least 1, got {out_channels}")
        dims = backbone.spatial_dims
        levels = _level_strides(backbone.strides)
        maps = len(backbone.strides)
        extra = len(levels) - maps
        if channels is None:
            finer = [min(max(backbone.channels[0] // 2 ** (i + 1), 16), 256 // 2**i) for i in range(extra)]
            widths = [*reversed(finer), *backbone.channels[:-1]]
        else:
            widths = list(channels)
        if len(widths) != len(levels) - 1:
            raise ModelError(f"channels needs {len(levels) - 1} widths, finest first, got {widths}")
        self.strides = levels
        self.skips = (0,) * extra + backbone.channels[:-1]
        self.image_skip = image_skip
        self.up = nn.ModuleList()
        self.mix = nn.ModuleList()
        transposed = nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d
        width = backbone.channels[-1]
        for level in reversed(range(len(levels) - 1)):
            step = tuple(c // f for c, f in zip(levels[level + 1], levels[level], strict=True))
            out = widths[level]
            self.up.append(transposed(width, out, step, stride=step))  # type: ignore[arg-type]  # torch types a size as a tuple of fixed length
            self.mix.append(ConvNorm(dims, out + self.skips[level], out))
            width = out
        if image_skip:
            self.image_stem = ConvNorm(dims, backbone.in_channels, width)
            self.image_mix = ConvNorm(dims, 2 * width, width)
        convolution = nn.Conv3d if dims == 3 else nn.Conv2d
        self.head = convolution(width, out_channels, 1)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # made with a bias

    def forward(self, features: Features, size: Sequence[int], image: Tensor | None = None) -> Tensor:
        """Decode.

        Args:
            features: of the backbone, unmasked: one map a stride.
            size: spatial size (*S) of the image.
            image: (B, C, *S), for `image_skip`.

        Returns:
            Logits (B, K, *S).

        Raises:
            ModelError: where the maps are missing, as after masking, or the image is.
        """
        expected = sum(1 for skip in self.skips if skip) + 1
        if len(features.maps) != expected:
            raise ModelError(f"the decoder needs {expected} maps, got {len(features.maps)}; a masked ViT gives none: encode without mask")
        x = features.maps[-1]
        for step, (up, mix) in enumerate(zip(self.up, self.mix, strict=True)):
            level = len(self.strides) - 2 - step
            x = _crop(up(x), [-(-n // s) for n, s in zip(size, self.strides[level], strict=True)])
            if self.skips[level]:
                x = torch.cat([x, features.maps[level - len(self.strides) + len(features.maps)]], dim=1)
            x = leaky_relu(mix(x), SLOPE)
        if self.image_skip:
            if image is None:
                raise ModelError("a decoder with image_skip=True needs the image: decoder(features, size, image)")
            x = torch.cat([x, leaky_relu(self.image_stem(image), SLOPE)], dim=1)
            x = leaky_relu(self.image_mix(x), SLOPE)
        logits: Tensor = self.head(_crop(x, size))
        return logits


def _level_strides(strides: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Strides of all levels, finest first: the backbone's, and before them smaller ones down to 1 by each axis's smallest prime factor."""
    for fine, coarse in pairwise(strides):
        if any(c % f for f, c in zip(fine, coarse, strict=True)):
            raise ModelError(f"strides must divide one another from fine to coarse, got {tuple(strides)}")
    levels = list(strides)
    while max(levels[0]) > 1:
        finest = levels[0]
        widest = max(finest)
        # Axes of unequal stride catch up with one another first: the coarsest halves while the finer waits.
        levels.insert(0, tuple(n // _smallest_factor(n) if 2 * n > widest else n for n in finest))
    return levels


def _smallest_factor(n: int) -> int:
    """Smallest prime factor of n, 1 for 1."""
    return next((k for k in range(2, n + 1) if n % k == 0), 1)


def _crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """Cut x (B, C, *S) at the far end to `size`."""
    for axis, length in enumerate(size):
        if x.shape[axis + 2] != length:
            x = x.narrow(axis + 2, 0, length)
    return x
