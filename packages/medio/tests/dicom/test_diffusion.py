"""Diffusion weighting: b-values and gradient directions of five makers, in the patient's frame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medio

WriteSeries = Callable[..., list[Path]]


def _volume(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 4000, (3, 6, 5)).astype(np.uint16)


def _slices(volumes: list[dict[Any, Any]]) -> list:
    return [(_volume(v)[z], (-10, -20, 30 + 2.5 * z), elements) for z in range(3) for v, elements in enumerate(volumes)]


def _standard(b: float, g: tuple | None) -> dict[Any, Any]:
    return {"DiffusionBValue": b, **({} if g is None else {"DiffusionGradientOrientation": list(g)})}


def _siemens(b: float, g: tuple | None) -> dict[Any, Any]:
    creator = "SIEMENS MR HEADER"
    return {(creator, 0x0019, 0x0C): ("IS", str(int(b))), **({} if g is None else {(creator, 0x0019, 0x0E): ("FD", list(g))})}


def _philips(b: float, g: tuple | None) -> dict[Any, Any]:
    # Philips writes b = 0 into every series; in one that is echo planar it is the volume without weighting
    parts = {("Philips MR Imaging DD 001", 0x2005, 0xB0 + n): ("FL", v) for n, v in enumerate(g or (0, 0, 0))}
    return {("Philips Imaging DD 001", 0x2001, 0x03): ("FL", b), "ScanningSequence": ["EP", "SE"], **parts}


def _uih(b: float, g: tuple | None) -> dict[Any, Any]:
    creator = "Image Private Header"
    return {(creator, 0x0065, 0x09): ("FD", b), **({} if g is None else {(creator, 0x0065, 0x37): ("FD", list(g))})}


def _ge(b: float, g: tuple | None) -> dict[Any, Any]:
    # in an axial slice with phase encoding along columns GE's z runs against the normal; 1e9 is a flag
    x, y, z = g or (0, 0, 0)
    parts = {("GEMS_ACQU_01", 0x0019, 0xBB + n): ("DS", f"{v:.8f}") for n, v in enumerate((x, y, -z))}
    flagged = 1000000000 + int(b) if b else 0
    return {
        ("GEMS_PARM_01", 0x0043, 0x39): ("IS", [flagged, 8, 0, 0]),
        "InPlanePhaseEncodingDirection": "COL",
        "ScanningSequence": "EP",
        **parts,
    }


@pytest.mark.parametrize("maker", [_standard, _siemens, _philips, _uih, _ge])
def test_every_maker_says_b_values_and_directions(write_series: WriteSeries, tmp_path: Path, maker: Callable[..., dict]) -> None:
    directions = [None, (0.0, 0.6, 0.8), (1.0, 0.0, 0.0), (0.6, 0.0, -0.8)]
    weights = [0, 1000, 1000, 2000]
    write_series(tmp_path / "dwi", _slices([maker(b, g) for b, g in zip(weights, directions, strict=True)]))
    found = medio.read_series(tmp_path / "dwi")
    assert list(found) == ["b0", "b1000 #1", "b1000 #2", "b2000"]
    assert all(np.array_equal(image.array, _volume(number)) for number, image in enumerate(found.values()))
    assert [image.meta["b_value"] for image in found.values()] == weights
    for image, direction in zip(found.values(), directions, strict=True):
        # an axial slice: rows, columns and normal are the patient's axes
        assert image.meta["gradient"] == (None if direction is None else pytest.approx(direction, abs=1e-6))


@pytest.mark.parametrize("maker", [_philips, _ge])
def test_a_b_value_of_zero_outside_echo_planar_series_says_nothing(
    write_series: WriteSeries, tmp_path: Path, maker: Callable[..., dict]
) -> None:
    write_series(tmp_path / "t1", _slices([{**maker(0, None), "ScanningSequence": "GR"}]))
    assert medio.read(tmp_path / "t1").meta["b_value"] is None


def test_a_trace_image_has_a_b_value_and_no_direction(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "trace", _slices([_ge(1000, (0.0, 0.0, 0.0))]))
    meta = medio.read(tmp_path / "trace").meta
    assert (meta["b_value"], meta["gradient"]) == (1000, None)


def test_ge_directions_of_other_planes_are_not_guessed(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "dwi", _slices([{**_ge(800, (1.0, 0.0, 0.0)), "InPlanePhaseEncodingDirection": "ROW"}]))
    image = medio.read(tmp_path / "dwi")
    assert (image.meta["b_value"], image.meta["gradient"]) == (800, None)


def test_ge_shells_below_the_nominal_b_value_shorten_the_direction(write_series: WriteSeries, tmp_path: Path) -> None:
    half = (0.5**0.5, 0.0, 0.0)  # |g|^2 = 1/2 of nominal 2000
    write_series(tmp_path / "dwi", _slices([_ge(2000, half)]))
    meta = medio.read(tmp_path / "dwi").meta
    assert (meta["b_value"], meta["gradient"]) == (1000, (1.0, 0.0, 0.0))
