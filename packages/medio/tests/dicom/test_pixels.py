"""Every real file at hand: its pixels are those of pydicom or SimpleITK, or the error says why there are none."""

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut

import medio
from medio.dicom.instances import open_instance, sound
from medio.dicom.pixels import frames

_JPEG, _JPEG_12, _LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_PLUGINS = {
    _JPEG: "pillow",
    _JPEG_12: "pillow",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.5": "pydicom",
}
_PYDICOM_WRONG = {
    # It reads the tables of a big-endian palette in the machine's byte order; ours equals that of the little-endian twin, see below.
    "OBXXXX1A_expb.dcm",
    "OBXXXX1A_expb_2frame.dcm",
    # No sequence delimiter: it drops PixelData, whose ten frames are all there; ours equals that of the whole twin, see below.
    "emri_small_jpeg_2k_lossless_too_short.dcm",
    # It does not guess the syntax of a file without meta information.
    "OT-PAL-8-face.dcm",
}
_SAID = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "the header says 1024x256",
    "MR_truncated.dcm": "PixelData holds 8130 bytes, 64x64x16 bit needs 8192; the file is truncated",
    "badVR.dcm": "no IS",
    # Two bytes of PixelData, and no element that says their size.
    "meta_missing_tsyntax.dcm": "holds no pixels",
    "nested_priv_SQ.dcm": "holds no pixels",
}
"""What files say whose pixels are damaged."""
_BARE = ("holds no pixels", "ends before its PixelData")
"""What files say that pydicom finds no pixels in either: reports, plans, directories; images without PixelData."""


def _dicom_files(folder: Path) -> Iterator[Path]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            if file.read(132)[128:] == b"DICM":
                yield path


def _by_another(path: Path) -> np.ndarray:
    """(F, H, W) or (F, H, W, 3): by pydicom and a named plugin, or by SimpleITK (GDCM) where pydicom has none that decodes."""
    dataset = pydicom.dcmread(path)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax in _LOSSLESS or (syntax == _JPEG_12 and dataset.BitsStored > 8):
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        values = SimpleITK.GetArrayFromImage(reader.Execute()).astype(np.float64)
        values = values if values.ndim > 2 else values[None]
        return np.rint((values - float(dataset.get("RescaleIntercept", 0) or 0)) / float(dataset.get("RescaleSlope", 1) or 1))
    frames_held = int(dataset.get("NumberOfFrames") or 1)
    chosen = _chosen(frames_held)
    if len(chosen) < frames_held:
        return np.stack([pixel_array(dataset, index=index, decoding_plugin=_PLUGINS.get(syntax, "")) for index in chosen])
    pixels = pixel_array(dataset, decoding_plugin=_PLUGINS.get(syntax, ""))
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    return pixels if frames_held > 1 else pixels[None]


def _chosen(count: int) -> list[int]:
    """Frames to compare: of a long cine only some, because pydicom takes 0.1 s for each."""
    return [0, 1, count // 2, count - 1] if count > 100 else list(range(count))


def _ours(path: Path) -> np.ndarray:
    with sound(path):
        return np.stack(list(frames(open_instance(path))))


def _root(name: str, shared_data: Path | None) -> Path:
    if name == "pydicom":
        return Path(pydicom.__file__).parent / "data" / "test_files"
    if name == "pydicom-data":
        spec = find_spec("data_store")
        if spec is None or spec.origin is None:
            pytest.skip("pydicom-data is not installed")
        return Path(spec.origin).parent / "data"
    assert shared_data is not None
    return shared_data / name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "least"), [("pydicom", 90), ("pydicom-data", 60), ("dicom_decode", 60), ("dicom_multivendor", 230), ("deid", 4)]
)
def test_every_real_file_gives_the_pixels_of_another_library_or_says_why_not(
    name: str, least: int, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    root = _root(name, None if name.startswith("pydicom") else request.getfixturevalue("shared_data"))
    equal, wrong = 0, []
    for path in _dicom_files(root):
        try:
            ours = _ours(path)
        except medio.MedioError as error:
            said = _SAID.get(path.name)
            bare = said is None and not any("PixelData" in keyword for keyword in pydicom.dcmread(path).dir())
            if said not in error.reason if said else not bare or not error.reason.startswith(_BARE):
                wrong.append(f"{path.name}: {error.reason}")
            continue
        if path.name in _PYDICOM_WRONG:
            continue
        theirs = _by_another(path)
        ours = ours[_chosen(len(ours))]
        if ours.shape != theirs.shape or not np.array_equal(ours, theirs):
            wrong.append(f"{path.name}: {ours.shape} {ours.dtype} differs from {theirs.shape} {theirs.dtype}")
        equal += 1
    assert not wrong
    assert equal >= least


@pytest.mark.parametrize(
    ("odd", "twin"),
    [
        ("OBXXXX1A_expb.dcm", "OBXXXX1A.dcm"),
        ("OBXXXX1A_expb_2frame.dcm", "OBXXXX1A_2frame.dcm"),
        ("gdcm-US-ALOKA-16_big.dcm", "gdcm-US-ALOKA-16.dcm"),
        ("emri_small_jpeg_2k_lossless_too_short.dcm", "emri_small_jpeg_2k_lossless.dcm"),
        ("emri_small_big_endian.dcm", "emri_small.dcm"),
        ("emri_small_RLE.dcm", "emri_small.dcm"),
        ("liver_expb.dcm", "liver.dcm"),
    ],
)
def test_two_encodings_of_one_image_give_the_same_pixels(odd: str, twin: str) -> None:
    root = _root("pydicom-data", None)
    ours, theirs = _ours(root / odd), _ours(root / twin)
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)


def test_a_cine_in_colour_comes_as_frames_of_rgb() -> None:
    path = Path(str(get_testdata_file("examples_ybr_color.dcm", download=False)))
    ours = _ours(path)
    assert ours.shape == (30, 240, 320, 3)
    assert ours.dtype == np.uint8


def test_a_file_without_meta_information_is_read(tmp_path: Path) -> None:
    whole = Path(str(get_testdata_file("MR_small_implicit.dcm", download=False)))
    data = whole.read_bytes()
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(
        data[144 + int.from_bytes(data[140:144], "little") :]
    )  # from where the group length says that the meta information ends
    assert np.array_equal(_ours(bare), _ours(whole))
