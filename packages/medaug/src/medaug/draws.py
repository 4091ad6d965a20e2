"""The random numbers of a batch: one row a sample, each a pure function of the sample's key and of the name that asks."""

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.errors import AugmentationError
from medaug.fields import normal_field, smooth_field, uniform_field
from medaug.kernels.philox import stream_keys, uniforms
from medaug.keyed import SampleKey, key_digest

Numbers = npt.NDArray[np.float64]


class Draws:
    """Named streams of random numbers for the samples of a batch.

    A name gives the same numbers each time it is asked: there is no state, so the order of draws, the batch, the worker and the rank change nothing.
    Ask for different things by different names.

    Args:
        keys: (seed, epoch, sample_id, view) of each sample.

    Example:
        `draws = Draws([(0, 0, "patient-1", 0)]); sigma = draws.uniform("sigma", 0.5, 1.0)  # (1,)`
    """

    def __init__(self, keys: Sequence[SampleKey]) -> None:
        self.names: tuple[str, ...] = tuple(str(key[2]) for key in keys)
        self._digests = np.array([key_digest(key, "") for key in keys], np.uint64)
        self._stream = ""

    def __len__(self) -> int:
        return len(self._digests)

    def child(self, name: str) -> "Draws":
        """Open the streams below a name: those of one transform, of a prior, of one view."""
        return self._with(self.names, self._digests, f"{self._stream}{name}/")

    def rows(self, index: npt.NDArray[np.intp]) -> "Draws":
        """Keep some samples."""
        return self._with(tuple(self.names[i] for i in index), self._digests[index], self._stream)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0, size: tuple[int, ...] = ()) -> Numbers:
        """Draw numbers in [low, high), (B, *size) float64."""
        out = np.empty((len(self._digests), math.prod(size)))
        uniforms(self._digests, _digest(self._stream + name), float(low), float(high - low), out)
        return out.reshape((len(out), *size))

    def log_uniform(self, name: str, low: float, high: float, size: tuple[int, ...] = ()) -> Numbers:
        """Draw numbers in [low, high) whose logarithm is uniform: factors that halve as often as they double. (B, *size) float64."""
        return np.exp(self.uniform(name, math.log(low), math.log(high), size))

    def chance(self, name: str, p: float, size: tuple[int, ...] = ()) -> npt.NDArray[np.bool_]:
        """Toss coins that fall True with probability p, (B, *size)."""
        return np.asarray(self.uniform(name, size=size) < p)

    def integers(self, name: str, low: int, high: int, size: tuple[int, ...] = ()) -> npt.NDArray[np.int64]:
        """Draw whole numbers in [low, high), (B, *size)."""
        return np.asarray(low + np.floor(self.uniform(name, size=size) * (high - low)), np.int64)

    def normal(self, name: str, size: tuple[int, ...] = ()) -> Numbers:
        """Draw standard normal numbers, (B, *size) float64. Box and Muller 1958."""
        u = self.uniform(name, size=(math.prod(size), 2))
        z = np.sqrt(-2 * np.log1p(-u[..., 0])) * np.cos(2 * np.pi * u[..., 1])
        return np.asarray(z.reshape((len(self), *size)))

    def normal_field(self, name: str, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
        """Draw standard normal noise, (B, *shape) float32 on a device; the compiled loops and the tensor code of other devices agree to 1e-5."""
        return normal_field(self.keys(name), shape, torch.device(device))

    def uniform_field(self, name: str, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
        """Draw noise uniform in [0, 1), (B, *shape) float32 of 24 bits on a device; compiled loops and tensor code agree bit for bit."""
        return uniform_field(self.keys(name), shape, torch.device(device))

    def keys(self, name: str) -> npt.NDArray[np.uint64]:
        """Give the keys of the generator for a name, (B,): for noise that is made where it is put, see `medaug.fields`."""
        return stream_keys(self._digests, _digest(self._stream + name))

    def smooth_field(self, name: str, shape: tuple[int, ...], sigma: Numbers, device: torch.device | str = "cpu") -> Tensor:
        """Draw standard normal noise that varies slowly, (B, *shape) float32: as white noise smoothed by a Gaussian.

        Args:
            name: of the field.
            shape: the spatial shape, two or three axes.
            sigma: (B, dims) standard deviation of the Gaussian in voxels, along each axis.
            device: where to make it.
        """
        return smooth_field(self.keys(name), shape, sigma, torch.device(device))

    def error(self, reason: str) -> AugmentationError:
        """Make the error that names these samples, at most three."""
        more = f" and {len(self.names) - 3} more" if len(self.names) > 3 else ""
        return AugmentationError(", ".join(self.names[:3]) + more, reason)

    def _with(self, names: tuple[str, ...], digests: npt.NDArray[np.uint64], stream: str) -> "Draws":
        result = object.__new__(Draws)
        result.names, result._digests, result._stream = names, digests, stream
        return result


@lru_cache(maxsize=4096)
def _digest(stream: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "big"))
