"""Every transfer syntax: the values that went in come out, wherever fragments, signs, colours and threads lead; damage has a name."""

import struct
import sys
import time
import tracemalloc
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.pixels.processing import apply_color_lut, convert_color_space

import medio
from medio.dicom.colour import to_rgb
from medio.dicom.gdcm_child import decode_elsewhere
from medio.dicom.instances import open_instance
from medio.dicom.layout import layout_of
from medio.dicom.pixels import frames

sys.path.insert(0, str(Path(__file__).parent / "making"))
from dicom_encoding import (
    BIG,
    DEFLATED,
    DEFLATED_FRAMES,
    EXPLICIT,
    HTJ2K,
    JPEG_2000,
    JPEG_LS,
    JPEG_XL,
    LOSSLESS,
    PREFIX,
    RAW_FRAGMENTS,
    RLE,
    dataset,
    encode,
    items,
    made,
    write,
    write_encoded,
)

NATIVE = (EXPLICIT, BIG, DEFLATED, RAW_FRAGMENTS, DEFLATED_FRAMES)
ENCODED = (RLE, LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K, JPEG_XL)
EVERY = (*NATIVE, *ENCODED)


def read(path: Path) -> np.ndarray:
    return np.stack(list(frames(open_instance(path))))


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)])
@pytest.mark.parametrize("syntax", EVERY)
def test_what_is_written_in_a_syntax_is_read_back(tmp_path: Path, syntax: str, dtype: str, bits: int) -> None:
    truth = made(dtype, bits, count=2)
    found = read(write_encoded(tmp_path / "a.dcm", truth, syntax, bits=bits))
    assert found.dtype == truth.dtype
    assert np.array_equal(found, truth)


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG, DEFLATED, RAW_FRAGMENTS, DEFLATED_FRAMES, RLE])
def test_values_of_32_bit_are_read(tmp_path: Path, syntax: str) -> None:
    truth = made("u4", 32, count=2)
    assert np.array_equal(read(write_encoded(tmp_path / "a.dcm", truth, syntax)), truth)


@pytest.mark.parametrize("syntax", [EXPLICIT, RAW_FRAGMENTS, RLE, LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K, JPEG_XL])
def test_rgb_is_read_as_written(tmp_path: Path, syntax: str) -> None:
    truth = made("u1", 8, count=2, shape=(20, 26, 3))
    assert np.array_equal(read(write_encoded(tmp_path / "a.dcm", truth, syntax)), truth)


@pytest.mark.parametrize(("codestream", "header"), [("i2", 0), ("u2", 1)])
def test_a_jpeg_2000_whose_sign_differs_from_the_header_follows_the_header(tmp_path: Path, codestream: str, header: int) -> None:
    # PS3.5 8.2.4: the bit patterns stand; 13 bit of them are in use.
    coded = made(codestream, 13)
    stream = bytes(imagecodecs.jpeg2k_encode(coded[0], level=0, reversible=True, codecformat="j2k", bitspersample=13))
    path = write(
        tmp_path / "a.dcm", dataset(coded, bits=13, PixelRepresentation=header), items(b"", [stream]), JPEG_2000, vr="OB", undefined=True
    )
    patterns = coded.astype(np.int64) & 0x1FFF
    truth = patterns if header == 0 else np.where(patterns >= 0x1000, patterns - 0x2000, patterns)
    assert np.array_equal(read(path), truth)


def test_overlays_above_the_high_bit_are_dropped(tmp_path: Path) -> None:
    truth = made("u2", 12)
    stored = truth | np.uint16(0xA000)
    for syntax in (EXPLICIT, BIG, DEFLATED, RLE, LOSSLESS):
        described = dataset(stored, bits=12)
        order = ">u2" if syntax == BIG else "<u2"
        pixels = items(b"", [encode(syntax, stored[0], 16)]) if syntax in ENCODED else stored.astype(order).tobytes()
        path = write(tmp_path / "a.dcm", described, pixels, syntax, vr="OB" if syntax in ENCODED else "OW", undefined=syntax in ENCODED)
        assert np.array_equal(read(path), truth), syntax


def test_samples_that_lie_high_in_their_word_are_brought_down(tmp_path: Path) -> None:
    truth = made("i2", 12)
    path = write(tmp_path / "a.dcm", dataset(truth, bits=12, HighBit=15), (truth.astype(np.uint16) << 4).astype("<u2").tobytes())
    assert np.array_equal(read(path), truth)


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG, DEFLATED])
def test_one_bit_frames_need_not_begin_at_a_byte(tmp_path: Path, syntax: str) -> None:
    truth = (np.random.default_rng(0).random((5, 7, 9)) < 0.5).astype(np.uint8)
    packed = np.packbits(truth.reshape(-1), bitorder="little").tobytes()
    packed += b"\0" * (len(packed) % 2)
    path = write(tmp_path / "a.dcm", dataset(truth, BitsAllocated=1, BitsStored=1, HighBit=0), packed, syntax, vr="OB")
    assert np.array_equal(read(path), truth)


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")])
def test_float_pixels_are_read_as_floats(tmp_path: Path, keyword: str, dtype: str) -> None:
    truth = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(dtype)
    truth[0, 0, 0] = np.nan
    described = dataset(truth)
    del described.BitsStored, described.HighBit, described.PixelRepresentation
    tag = {"FloatPixelData": 0x0008, "DoubleFloatPixelData": 0x0009}[keyword]
    path = write(tmp_path / "a.dcm", described, truth.tobytes(), vr="OF" if dtype == "f4" else "OD")
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<HH", 0x7FE0, 0x0010), struct.pack("<HH", 0x7FE0, tag)))
    found = read(path)
    assert found.dtype == truth.dtype
    assert np.array_equal(found, truth, equal_nan=True)


def test_planes_of_colour_are_interleaved(tmp_path: Path) -> None:
    truth = made("u2", 16, count=2, shape=(6, 8, 3))
    path = write(tmp_path / "a.dcm", dataset(truth, PlanarConfiguration=1), np.moveaxis(truth, -1, 1).tobytes())
    assert np.array_equal(read(path), truth)


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE, JPEG_LS, JPEG_2000])
def test_ybr_full_becomes_the_rgb_of_pydicom(tmp_path: Path, syntax: str) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (1, 40, 50, 3)).astype(np.uint8)
    if syntax == JPEG_2000:  # without the codec's own transform
        stream = bytes(imagecodecs.jpeg2k_encode(stored[0], level=0, reversible=True, codecformat="j2k", mct=False))
        described = dataset(stored, PhotometricInterpretation="YBR_FULL")
        path = write(tmp_path / "a.dcm", described, items(b"", [stream]), syntax, vr="OB", undefined=True)
    else:
        path = write_encoded(tmp_path / "a.dcm", stored, syntax, PhotometricInterpretation="YBR_FULL")
    assert np.array_equal(read(path), convert_color_space(stored, "YBR_FULL", "RGB"))


def test_the_transform_to_rgb_differs_from_pydicoms_in_ties_only() -> None:
    # Every third colour. pydicom sums in float32, which tips a few halves the other way: 265 of the 50 million values of all colours.
    axis = np.arange(0, 256, 3, dtype=np.uint8)
    colours = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(len(axis), -1, 3)
    ours = colours.copy()
    to_rgb(ours)
    difference = np.abs(ours.astype(int) - convert_color_space(colours, "YBR_FULL", "RGB").astype(int))
    assert difference.max() <= 1
    assert np.count_nonzero(difference) < 20


@pytest.mark.parametrize(("photometric", "adobe"), [("RGB", 0), ("YBR_FULL_422", 1)])
def test_the_codestream_says_the_colour_space_of_a_lossy_jpeg(tmp_path: Path, photometric: str, adobe: int) -> None:
    # The header contradicts Adobe's marker, which says what the encoder did: the picture must be right either way.
    y, x = np.mgrid[0:64, 0:64]
    picture = np.stack([4 * x, 4 * y, 255 - 2 * x - 2 * y], -1).astype(np.uint8)
    space = {0: "RGB", 1: "YCBCR"}[adobe]
    stream = bytes(imagecodecs.jpeg8_encode(picture, 95, colorspace="RGB", outcolorspace=space, subsampling="444"))
    wrong = "YBR_FULL_422" if photometric == "RGB" else "RGB"
    path = write(
        tmp_path / "a.dcm",
        dataset(picture[None], PhotometricInterpretation=wrong),
        items(b"", [stream]),
        f"{PREFIX}.4.50",
        vr="OB",
        undefined=True,
    )
    assert np.abs(read(path)[0].astype(int) - picture).mean() < 2


def _palette(described: object, segmented: bool) -> None:
    ramp = np.arange(256)
    for colour in range(3):
        values = (ramp * (colour + 1) * 60 % 65536).astype(np.uint16)
        described.add_new(0x00281101 + colour, "US", [256, 10, 16])
        if segmented:
            # Discrete 4 entries; a line of 100 to 50000; a line of 152 down to 7: 256 in all.
            words = [0, 4, 1, 2, 3, 9 + colour, 1, 100, 50000, 1, 152, 7]
            described.add_new(0x00281221 + colour, "OW", np.array(words, np.uint16).tobytes())
        else:
            described.add_new(0x00281201 + colour, "OW", values.tobytes())


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_a_palette_gives_the_colours_of_pydicom(tmp_path: Path, dtype: str, segmented: bool) -> None:
    indices = np.random.default_rng(0).integers(0, 256, (2, 12, 10)).astype(dtype)
    described = dataset(indices, PhotometricInterpretation="PALETTE COLOR")
    _palette(described, segmented)
    path = write(tmp_path / "a.dcm", described, indices.tobytes())
    instance = open_instance(path)
    assert np.array_equal(np.stack(list(frames(instance))), apply_color_lut(indices.astype(np.uint16), described))
    assert np.array_equal(np.stack(list(frames(instance, palette=False))), indices)


@pytest.mark.parametrize("syntax", ENCODED)
def test_a_codestream_that_ends_early_is_an_error_and_never_half_an_image(tmp_path: Path, syntax: str) -> None:
    truth = made("u2", 12, shape=(64, 64))
    stream = encode(syntax, truth[0], 12)
    for keep in (len(stream) // 2, len(stream) - 60, 30, 1):
        path = write(tmp_path / "a.dcm", dataset(truth, bits=12), items(b"", [stream[:keep]]), syntax, vr="OB", undefined=True)
        with pytest.raises(medio.CorruptFileError, match=r"frame 1 of 1 does not decode|cannot hold 1 frames"):
            read(path)


def test_a_jpeg_ls_stream_without_its_end_costs_no_seconds(tmp_path: Path) -> None:
    # CharLS alone takes 3.5 s of CPU to say that 64x64 pixels end early.
    truth = made("u2", 12, shape=(64, 64))
    stream = encode(JPEG_LS, truth[0], 12)[:-60]
    path = write(tmp_path / "a.dcm", dataset(truth, bits=12), items(b"", [stream]), JPEG_LS, vr="OB", undefined=True)
    start = time.process_time()
    with pytest.raises(medio.CorruptFileError, match="it ends before its end marker"):
        read(path)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("syntax", [LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K, JPEG_XL])
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path, syntax: str) -> None:
    truth = made("u2", 12, shape=(64, 64))
    stream = encode(syntax, truth[0], 12)
    path = write(tmp_path / "a.dcm", dataset(truth[:, :32], bits=12), items(b"", [stream]), syntax, vr="OB", undefined=True)
    with pytest.raises(medio.CorruptFileError, match="frame 1 of 1 does not decode"):
        read(path)


@pytest.mark.parametrize("syntax", EVERY)
def test_sizes_that_a_file_cannot_hold_cost_no_memory(tmp_path: Path, syntax: str) -> None:
    path = write_encoded(tmp_path / "a.dcm", made("u2", 12), syntax, bits=12)
    data = path.read_bytes() if syntax != DEFLATED else b""
    little = syntax != BIG
    if syntax == DEFLATED:
        small = dataset(made("u2", 12), bits=12, Rows=65535, Columns=65535)
        write(path, small, made("u2", 12).tobytes(), DEFLATED)
    else:
        for element in (0x10, 0x11):
            head = struct.pack("<HH" if little else ">HH", 0x28, element) + b"US" + struct.pack("<H" if little else ">H", 2)
            place = data.index(head) + 8
            data = data[:place] + b"\xff\xff" + data[place + 2 :]
        path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(medio.CorruptFileError, match=r"cannot hold|PixelData holds \d+ bytes"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("syntax", "said"),
    [
        (f"{PREFIX}.4.102", "video"),
        (f"{PREFIX}.4.107", "video"),
        (f"{PREFIX}.4.94", "a reference to pixels elsewhere"),
        (f"{PREFIX}.4.204", "a reference to pixels elsewhere"),
        ("1.2.3.4", "transfer syntax 1.2.3.4 is not read"),
    ],
)
def test_what_is_not_an_image_codec_is_named(tmp_path: Path, syntax: str, said: str) -> None:
    path = write(tmp_path / "a.dcm", dataset(made("u1", 8)), items(b"", [b"abcd"]), syntax, vr="OB", undefined=True)
    with pytest.raises(medio.UnsupportedError, match=said):
        read(path)


def test_plain_jpeg_2000_under_a_high_throughput_syntax_is_read(tmp_path: Path) -> None:
    truth = made("u2", 12)
    path = write(tmp_path / "a.dcm", dataset(truth, bits=12), items(b"", [encode(JPEG_2000, truth[0], 12)]), HTJ2K, vr="OB", undefined=True)
    assert np.array_equal(read(path), truth)


class TestRetired:
    """JPEG processes that the standard has retired."""

    @pytest.mark.parametrize("process", [53, 55])
    def test_progressive_jpeg_is_read(self, tmp_path: Path, process: int) -> None:
        image = pytest.importorskip("PIL.Image")
        picture = made("u1", 8, shape=(64, 64))[0]
        image.fromarray(picture).save(tmp_path / "a.jpg", quality=95, progressive=True)
        stream = (tmp_path / "a.jpg").read_bytes()
        path = write(tmp_path / "a.dcm", dataset(picture[None]), items(b"", [stream]), f"{PREFIX}.4.{process}", vr="OB", undefined=True)
        assert np.array_equal(read(path)[0], np.asarray(image.open(tmp_path / "a.jpg")))

    def test_a_hierarchical_jpeg_says_that_nothing_decodes_it(self, tmp_path: Path) -> None:
        pytest.importorskip("_gdcm", reason="GDCM is an extra")
        picture = made("u1", 8, shape=(64, 64))[0]
        stream = bytes(imagecodecs.jpeg8_encode(picture, 95)).replace(b"\xff\xc0", b"\xff\xc5", 1)
        path = write(tmp_path / "a.dcm", dataset(picture[None]), items(b"", [stream]), f"{PREFIX}.4.60", vr="OB", undefined=True)
        with pytest.raises(medio.MedioError, match=r"neither libjpeg-turbo nor GDCM|GDCM ended"):
            read(path)

    def test_without_gdcm_the_error_names_the_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "gdcm.py").write_text("raise ImportError('not here')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        picture = made("u1", 8)
        path = write_encoded(tmp_path / "a.dcm", picture, LOSSLESS)
        with pytest.raises(medio.UnsupportedError, match=r'pip install "medio\[gdcm\]"'):
            decode_elsewhere(b"", layout_of(open_instance(path)), picture[0])

    def test_a_child_that_crashes_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "gdcm.py").write_text("import os\nos.abort()")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        picture = made("u1", 8)
        path = write_encoded(tmp_path / "a.dcm", picture, LOSSLESS)
        with pytest.raises(ValueError, match="GDCM ended with code -6"):
            decode_elsewhere(b"", layout_of(open_instance(path)), picture[0])

    def test_gdcm_in_its_own_process_decodes(self, tmp_path: Path) -> None:
        pytest.importorskip("_gdcm", reason="GDCM is an extra")
        truth = made("u2", 16)
        path = write_encoded(tmp_path / "a.dcm", truth, LOSSLESS)
        out = np.empty(truth.shape[1:], np.uint16)
        decode_elsewhere(encode(LOSSLESS, truth[0], 16), layout_of(open_instance(path)), out)
        assert np.array_equal(out, truth[0])
