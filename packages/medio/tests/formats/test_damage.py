"""Damaged files of every format: an image or one of our errors, quickly and in little memory; never another exception."""

import warnings
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile

import medio
from medio import Image, MedioError

AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])
FORMATS = ["nii", "nii.gz", "hdr", "nrrd", "raw.nrrd", "nhdr", "mha", "raw.mha", "mhd", "png", "jpg", "tif", "raw.tif"]


def _whole(folder: Path, suffix: str) -> Path:
    rng = np.random.default_rng(0)
    path = folder / f"a.{suffix}"
    volume = Image(rng.integers(-1000, 1000, (4, 5, 6)).astype(np.int16), AFFINE, (2.5, 0.8, 0.7))
    film = rng.integers(0, 255, (40, 50), np.uint8)
    if suffix == "hdr":
        nibabel.save(nibabel.Nifti1Pair(volume.array.T, np.diag([0.7, 0.8, 2.5, 1])), path)
    elif suffix == "raw.nrrd":
        medio.formats.nrrd.write_nrrd(volume, path, compress=False)
    elif suffix == "raw.mha":
        medio.formats.metaimage.write_metaimage(volume, path, compress=False)
    elif suffix == "jpg":
        path.write_bytes(imagecodecs.jpeg8_encode(film))
    elif suffix == "raw.tif":
        tifffile.imwrite(path, film)
    else:
        medio.write(Image(film, None, (1, 1)) if suffix in ("png", "tif") else volume, path)
    return path


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, cut, repeat or insert; half of the time within the header."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        reach = min(len(out), 400) if rng.random() < 0.5 else len(out)
        at = int(rng.integers(0, max(1, reach)))
        kind = rng.integers(0, 5)
        if kind == 0 and out:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and out:
            out[at] = int(rng.choice([0, 1, 127, 128, 255, 45, 57]))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at:at] = out[at : at + int(rng.integers(1, 20))]
        else:
            out[at : at + 4] = rng.integers(0, 256, 4, np.uint8).tobytes()
    return bytes(out)


def _fuzz(tmp_path: Path, suffix: str, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = _whole(tmp_path, suffix)
    whole = path.read_bytes()
    spacing = (1.0, 1.0) if suffix.split(".")[-1] in ("png", "jpg", "tif") else None
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(count):
            path.write_bytes(_damaged(whole, rng))
            try:
                image = medio.read(path, spacing=spacing)
            except MedioError as error:
                assert str(path.parent) in str(error)  # noqa: PT017
                assert "\n" not in str(error)  # noqa: PT017
                refused += 1
            else:
                assert image.array.nbytes < 1032 * 2 * len(whole) + 1e6
    assert refused > count / 20


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_gives_an_image_or_an_error_that_names_the_file(tmp_path: Path, suffix: str) -> None:
    _fuzz(tmp_path, suffix, 150, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
def test_much_damage_gives_an_image_or_an_error_that_names_the_file(tmp_path: Path, suffix: str) -> None:
    _fuzz(tmp_path, suffix, 1000, seed=2)
