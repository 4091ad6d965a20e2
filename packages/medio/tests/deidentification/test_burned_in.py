"""Text in pixels: found, blanked in every frame, and nothing else touched."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medio.deidentification.dataset import deidentify
from medio.deidentification.files import deidentify_files
from medio.deidentification.policy import Policy
from medio.deidentification.verify import verify_deidentified
from medio.errors import PrivacyError

pytest.importorskip("rapidocr_onnxruntime", reason="the extra ocr is absent")
from medio.deidentification.burned_in import decode
from medio.deidentification.ocr import find_text

POLICY = Policy(key="a secret of 24 letters..", clean_pixels=True)
NAME = "KROVICSSEN^ANNA 7788123"
US, US_FRAMES, CAPTURE, CT = (f"1.2.840.10008.5.1.4.1.1.{s}" for s in ("6.1", "3.1", "7", "2"))


def ground(size: int = 256, seed: int = 0) -> np.ndarray[Any, Any]:
    """A disc with texture on black: 8 bit, no letter in it."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    noise = np.random.default_rng(seed).normal(0, 6, (size, size))
    return np.clip(12 + 90 * (np.hypot(x * 1.1, y) < 0.35) + noise, 0, 255).astype(np.uint8)


def write(
    picture: np.ndarray[Any, Any], place: tuple[int, int], text: str = NAME, size: int = 14, value: int = 255
) -> np.ndarray[Any, Any]:
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(place, text, fill=(value,) * 3 if picture.ndim == 3 else value, font=ImageFont.load_default(size))
    return np.asarray(image)


def instance(pixels: np.ndarray[Any, Any], kind: str = CAPTURE, **extra: Any) -> Dataset:
    """(F, H, W[, 3]) as an uncompressed object."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, generate_uid(entropy_srcs=[str(pixels.sum()), kind])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["series"])
    dataset.PatientID, dataset.PatientName, dataset.Modality = "7788123", "KROVICSSEN^ANNA", "OT"
    dataset.StudyDate = "20210304"
    dataset.Rows, dataset.Columns = pixels.shape[1:3]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 4 else "MONOCHROME2"
    if pixels.ndim == 4:
        dataset.PlanarConfiguration = 0
    if len(pixels) > 1:
        dataset.NumberOfFrames = len(pixels)
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for keyword, value in extra.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def reads(picture: np.ndarray[Any, Any]) -> str:
    return " ".join(box.text for box in find_text(picture))


@pytest.mark.parametrize("corner", [(70, 238), (40, 110)])
def test_a_name_in_any_corner_or_over_anatomy_is_blanked_and_nothing_else(corner: tuple[int, int]) -> None:
    before = ground()
    burned = write(before, corner)
    result, audit = deidentify(instance(burned[None]), POLICY)
    after = decode(result)[0]
    assert "KROV" not in reads(after)
    assert "778" not in reads(after)
    changed = after != burned
    rows, columns = np.nonzero(changed)
    written = np.argwhere(burned != before)
    # The letters lie inside what changed, and what changed is one line of text with its margin.
    assert changed[tuple(written.T)].mean() > 0.95
    assert rows.max() - rows.min() < 40
    assert changed.mean() < 0.2
    assert columns.min() >= corner[0] - 12
    assert result.BurnedInAnnotation == "NO"
    assert "text blanked" in {entry.action for entry in audit}
    assert "113101" in [item.CodeValue for item in result.DeidentificationMethodCodeSequence]


@pytest.mark.parametrize(
    ("what", "picture"),
    [
        ("dark on light", lambda: write(np.full((256, 256), 240, np.uint8), (4, 4), value=10)),
        ("faint", lambda: write(np.full((256, 256), 20, np.uint8), (4, 4), value=44)),
        ("16 bit, bright anatomy", lambda: write(ground(), (4, 4)).astype(np.uint16) * 16 + (ground() > 80).astype(np.uint16) * 40000),
        ("signed", lambda: write(ground(), (4, 4)).astype(np.int16) * 12 - 1024),
        ("small letters", lambda: write(ground(), (4, 4), size=10)),
        ("turned", lambda: np.ascontiguousarray(np.rot90(write(ground(), (4, 4))))),
        ("colour", lambda: write(np.stack([ground()] * 3, axis=-1), (4, 4))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_is_found_however_it_is_shown(what: str, picture: Any) -> None:
    pixels = picture()
    assert "KROV" in reads(pixels).upper(), what
    after = decode(deidentify(instance(pixels[None]), POLICY)[0])[0]
    assert "KROV" not in reads(after).upper()


def test_a_name_in_one_of_many_frames_is_blanked_in_all_of_them() -> None:
    frames = np.stack([ground(seed=n) for n in range(7)])
    frames[4] = write(frames[4], (30, 4))  # neither the first, the middle nor the last
    result, _ = deidentify(instance(frames, US_FRAMES), POLICY)
    after = decode(result)
    assert "KROV" not in reads(after[4])
    box = after[4] != frames[4]
    assert box.any()
    for n in range(7):
        assert (after[n][box] == after[n][box][0]).all()
        np.testing.assert_array_equal(after[n][~box & (after[n] == frames[n])], frames[n][~box & (after[n] == frames[n])])
        assert (after[n] != frames[n]).mean() < 0.2


def test_outside_the_regions_of_an_ultrasound_everything_is_blanked_if_asked() -> None:
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0, region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 30, 40, 225, 239
    picture = ground()
    inside = np.zeros(picture.shape, bool)
    inside[40:240, 30:226] = True  # both borders belong to the region
    dataset = instance(picture[None], US, SequenceOfUltrasoundRegions=Sequence([region]))
    after = decode(deidentify(dataset, POLICY)[0])[0]
    np.testing.assert_array_equal(after[inside], picture[inside])
    assert len(np.unique(after[~inside])) == 1
    kept = decode(deidentify(dataset, Policy(key=POLICY.key, clean_pixels=True, blank_outside_regions=False))[0])[0]
    np.testing.assert_array_equal(kept, picture)


def test_pixels_without_text_stay_bit_for_bit_as_they_were_encoded(shared_data: Path) -> None:
    # A JPEG of a brain, one of whose ventricles is read as a large U.
    source = dcmread(shared_data / "deid" / "humans" / "ctbrain2.dcm")
    result, _ = deidentify(source, POLICY)
    assert result.PixelData == source.PixelData
    assert result.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
    assert result.BurnedInAnnotation == "NO"


def test_real_slices_are_not_mistaken_for_text(shared_data: Path) -> None:
    policy = Policy(key=POLICY.key, clean_pixels=True, examine_all_pixels=True)
    folder = shared_data / "dicom_multivendor"
    paths = [*sorted(folder.glob("ct_ge*/*.dcm"))[::9], *sorted(folder.glob("mr_philips_elition_mprage/1301_0*.dcm"))[::60]]
    assert len(paths) >= 6
    for path in paths:
        source = dcmread(path)
        assert deidentify(source, policy)[0].PixelData == source.PixelData, path.name


def test_the_name_burned_into_a_real_ultrasound_is_gone_and_the_verifier_agrees(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "deid" / "ultrasounds" / "RGB_IMAGE.dcm"
    before = reads(decode(dcmread(source))[0])
    assert "MARY" in before
    assert "120907058" in before
    report = deidentify_files(source, tmp_path / "out", POLICY)
    after = reads(decode(dcmread(report.written[0]))[0])
    for word in ("MARY", "DOWNTIME", "1209", "CLEVELAND", "2020", "4743"):
        assert word not in after
    assert verify_deidentified(source, tmp_path / "out", POLICY, read_pixels=True).leaks == ()


def test_markers_of_the_side_stay_and_radiographs_are_examined() -> None:
    picture = write(write(ground(), (8, 200), "R", size=24), (60, 6))
    result, _ = deidentify(instance(picture[None], "1.2.840.10008.5.1.4.1.1.1.1"), POLICY)
    after = decode(result)[0]
    np.testing.assert_array_equal(after[190:236, :40], picture[190:236, :40])
    assert "KROV" not in reads(after)


def test_pictures_with_text_are_refused_without_the_option_and_video_always() -> None:
    plain = Policy(key=POLICY.key)
    for kind in (US, US_FRAMES, CAPTURE):
        with pytest.raises(PrivacyError, match="set clean_pixels"):
            deidentify(instance(ground()[None], kind), plain)
    film = instance(ground()[None], US_FRAMES)
    film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    with pytest.raises(PrivacyError, match="video"):
        deidentify(film, POLICY)
    with pytest.raises(ValueError, match="needs clean_pixels"):
        Policy(key=POLICY.key, examine_all_pixels=True)


def test_a_plain_slice_is_not_said_to_be_searched() -> None:
    result, _ = deidentify(instance(ground().astype(np.uint16)[None], CT), POLICY)
    assert "113101" not in [item.CodeValue for item in result.DeidentificationMethodCodeSequence]
    assert "BurnedInAnnotation" not in result


def test_a_name_in_the_comment_of_a_compressed_stream_goes_with_the_stream() -> None:
    import imagecodecs
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    stream = imagecodecs.jpeg8_encode(ground(), level=95)
    comment = b"\xff\xfe\x00\x0cKrovicssen"
    dataset = instance(ground()[None], CT)
    dataset.PixelData = encapsulate([stream[:2] + comment + stream[2:]])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    with pytest.raises(PrivacyError, match="inside its compressed pixels"):
        deidentify(dataset, Policy(key=POLICY.key))
    result, _ = deidentify(dataset, POLICY)
    assert result.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert result.LossyImageCompression == "01"
    np.testing.assert_array_equal(np.frombuffer(result.PixelData, np.uint8), imagecodecs.jpeg8_decode(stream).ravel())


@pytest.mark.slow
def test_twelve_generated_captures_hold_no_name_after_cleaning(tmp_path: Path) -> None:
    from pydicom import dcmwrite

    random = np.random.default_rng(7)
    for number in range(12):
        picture = ground(int(random.choice([192, 320, 512])), seed=number)
        place = (int(random.integers(0, picture.shape[1] - 180)), int(random.integers(0, picture.shape[0] - 24)))
        dataset = instance(write(picture, place, size=int(random.integers(11, 18)))[None])
        (tmp_path / "in").mkdir(exist_ok=True)
        dcmwrite(tmp_path / "in" / f"{number}.dcm", dataset, enforce_file_format=True)
    report = deidentify_files(tmp_path / "in", tmp_path / "out", POLICY)
    assert len(report.written) == 12
    for path in report.written:
        read = reads(decode(dcmread(path))[0]).upper()
        assert not any(part in read for part in ("KROV", "ANNA", "7788"))
    assert verify_deidentified(tmp_path / "in", tmp_path / "out", POLICY, read_pixels=True).leaks == ()
    # The verifier does read: one that was left is told.
    dirty = dcmread(report.written[0])
    dirty.PixelData = write(np.zeros((dirty.Rows, dirty.Columns), np.uint8), (4, 4)).tobytes()
    dirty.save_as(report.written[0])
    with pytest.raises(PrivacyError, match=r"1 leaks: .*\(7FE0,0010\) \(pixels\)"):
        verify_deidentified(tmp_path / "in", tmp_path / "out", POLICY, read_pixels=True)


@pytest.mark.slow
def test_the_shared_files_with_planted_identifiers_come_out_clean(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "deid"
    everything = Policy(key=POLICY.key, clean_pixels=True, clean_graphics=True, clean_structured=True, keep_safe_private=True)
    report = deidentify_files(sorted(source.rglob("*.dcm")), tmp_path / "out", everything)
    assert report.quarantined == ()
    assert len(report.written) == 4
    assert verify_deidentified(source, tmp_path / "out", everything, read_pixels=True).leaks == ()
    planted = {
        str(value).encode()
        for path in source.rglob("*.dcm")
        for element in dcmread(path, stop_before_pixels=True).iterall()
        if element.VR == "PN"
        or element.tag.is_private
        or element.keyword in ("PatientID", "AccessionNumber", "InstitutionName", "StationName")
        for value in (element.value if element.VM > 1 else [element.value])
        if element.VR not in ("SQ", "DS", "IS", "CS") and len(str(value)) >= 6
    }
    assert len(planted) > 30
    written = b"".join(path.read_bytes() for path in report.written)
    assert [text for text in sorted(planted) if text in written] == []
