"""How arrays are compressed: a few settings, each chosen by measurement on real images, all lossless."""

from dataclasses import dataclass
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Codec:
    """One way to compress an array.

    Attributes:
        name: as `build_shards(codec=…)` takes it.
        compressor: name of a Blosc2 codec.
        level: its effort.
        shuffle: `bit` or `byte`: what is brought together before compression.
        chunk: voxels along each spatial axis of what is addressed at once, for volumes.
        block: likewise of what is decompressed at once. For films both are larger: 512 and 128 pixels.
    """

    name: str
    compressor: str
    level: int
    shuffle: str
    chunk: int = 64
    block: int = 32

    def compress(self, array: Array, dims: int) -> bytes:
        """Compress an array whose last `dims` axes are spatial into a Blosc2 frame, on one thread.

        One thread, because executors already use the cores, and so that the bytes do not depend on how many there are.
        """
        spatial = array.shape[-dims:] if array.ndim >= dims else array.shape
        lead = (1,) * (array.ndim - len(spatial))
        chunk, block = (self.chunk, self.block) if dims == 3 else _FILM
        chunks = tuple(min(n, chunk) for n in spatial)
        blocks = tuple(min(n, block) for n in chunks)
        filters = [blosc2.Filter.BITSHUFFLE if self.shuffle == "bit" else blosc2.Filter.SHUFFLE]
        settings = blosc2.CParams(codec=blosc2.Codec[self.compressor], clevel=self.level, filters=filters, nthreads=1)
        frame: bytes = blosc2.asarray(
            np.ascontiguousarray(array), chunks=lead + chunks, blocks=lead + blocks, cparams=settings, contiguous=True
        ).to_cframe()
        return frame

    def __str__(self) -> str:
        return f"{self.compressor}-{self.level}-{self.shuffle}-{self.chunk}-{self.block}".lower()


_FILM = (512, 128)
# Measured by tests/benchmarks/bench_crop.py; sizes against the plain integers, times against `fast`:
# fast: CT 2.6 times smaller, the quickest to read. small: CT 2.9 and MR 1.6 to 2.5 times smaller, 1.6 times slower. films: 8-bit films 1.7 times smaller.
CODECS = {
    codec.name: codec
    for codec in (
        Codec("fast", "LZ4HC", 5, "bit"),
        Codec("small", "ZSTD", 3, "byte", block=16),
        Codec("films", "ZSTD", 3, "bit"),
    )
}


def codec_of(name: str) -> Codec:
    """Return a codec by name.

    Raises:
        ValueError: for a name that is not one of `CODECS`.
    """
    try:
        return CODECS[name]
    except KeyError:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}, got {name!r}") from None
