"""Reports, presentation states, contours and overlays: cleaned where an option says so, refused where none does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medio.deidentification.dataset import deidentify
from medio.deidentification.policy import Policy
from medio.errors import PrivacyError

KEY = "a secret of 24 letters.."
POLICY = Policy(key=KEY, clean_structured=True, day_first=False)
ROOT = "1.2.840.10008.5.1.4.1.1."


def code(value: str, scheme: str = "DCM", meaning: str = "Concept") -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def item(kind: str, concept: Sequence, **values: Any) -> Dataset:
    dataset = Dataset()
    dataset.RelationshipType, dataset.ValueType, dataset.ConceptNameCodeSequence = "CONTAINS", kind, concept
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def instance(suffix: str, **extra: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ROOT + suffix, generate_uid(entropy_srcs=[suffix])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["s"]), generate_uid(entropy_srcs=["r"])
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "MRN-7781", "Krovicssen^Anna", "19500607"
    dataset.StudyDate, dataset.Modality = "20210304", "SR"
    for keyword, value in extra.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def report() -> Dataset:
    numbers = Dataset()
    numbers.NumericValue, numbers.MeasurementUnitsCodeSequence = "12.5", code("mm", "UCUM", "millimeter")
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = ROOT + "2", "1.2.3.4.5.6.7.8"
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerifyingOrganization, observer.VerificationDateTime = (
        "Weber^Karl",
        "Mercy Hospital",
        "20210305101112",
    )
    observer.VerifyingObserverIdentificationCodeSequence = code("K77", "99MERCY", "Weber")
    inner = item("CONTAINER", code("121070"), ContinuityOfContent="SEPARATE")
    inner.ContentSequence = Sequence([item("TEXT", code("121071"), TextValue="KROVICSSEN: nodule 12 x 8 mm at L4-L5 on 03/04/2021.")])
    content = [
        item("PNAME", code("121008"), PersonName="Weber^Karl"),
        item("UIDREF", code("121012"), UID="1.2.3.4.99"),
        item("TEXT", code("121013"), TextValue="Scanner of ward seven"),
        item("PNAME", code("121029"), PersonName="Krovicssen^Anna"),
        item("CODE", code("121032"), ConceptCodeSequence=code("F", "DCM", "Female")),
        item("NUM", code("410668003", "SCT", "Length"), MeasuredValueSequence=Sequence([numbers])),
        item("IMAGE", code("121112"), ReferencedSOPSequence=Sequence([image])),
        item("CODE", code("121071"), ConceptCodeSequence=code("X1", "99MERCY", "Tumour board of Mercy")),
        item("TEXT", code("N1", "99MERCY", "Note of Mercy"), TextValue="ward seven"),
        item("DATETIME", code("111526"), DateTime="20210304101112"),
        item("PNAME", code("121070"), PersonName="Weber^Karl"),
        inner,
    ]
    return instance(
        "88.33",
        ContentSequence=Sequence(content),
        ValueType="CONTAINER",
        ConceptNameCodeSequence=code("126000"),
        VerificationFlag="VERIFIED",
        CompletionFlag="COMPLETE",
        VerifyingObserverSequence=Sequence([observer]),
    )


def test_the_content_tree_keeps_findings_and_loses_people_and_places() -> None:
    result, audit = deidentify(report(), POLICY)
    text = str(result).lower()
    for secret in ("krovic", "anna", "weber", "mercy", "ward seven", "1.2.3.4", "19500607", "20210304"):
        assert secret not in text
    content = result.ContentSequence
    assert len(content) == 12  # what went has a stand-in, so that references by position hold
    assert content[5].MeasuredValueSequence[0].NumericValue == 12.5
    assert content[6].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == POLICY.map_uid("1.2.3.4.5.6.7.8")
    assert POLICY.map_uid("1.2.3.4.99") == content[1].UID
    assert content[4].ConceptCodeSequence[0].CodeValue == "F"
    moved = POLICY.shift_days("id:MRN-7781")
    day = np.datetime64("2021-03-04") + moved
    assert content[9].DateTime == f"{str(day).replace('-', '')}101112"
    inner = content[11].ContentSequence[0].TextValue
    year, month, date = str(day).split("-")
    assert inner == f"[NAME]: nodule 12 x 8 mm at L4-L5 on {month}/{date}/{year}."
    assert result.VerifyingObserverSequence[0].VerifyingObserverName == "Removed^"
    assert "113104" in [c.CodeValue for c in result.DeidentificationMethodCodeSequence]
    assert {"text cleaned", "replaced"} <= {entry.action for entry in audit}


def test_without_its_option_each_kind_is_refused_and_some_always() -> None:
    plain, everything = Policy(key=KEY), Policy(key=KEY, clean_structured=True, clean_graphics=True, clean_pixels=True)
    with pytest.raises(PrivacyError, match="Comprehensive SR Storage may hold text in its content; set clean_structured"):
        deidentify(report(), plain)
    with pytest.raises(PrivacyError, match="set clean_graphics"):
        deidentify(instance("11.1"), plain)
    for suffix, reason in {
        "104.1": "encapsulated document",
        "104.2": "encapsulated document",
        "66": "only its vendor knows",
        "77.1.4": "photograph",
        "77.1.6": "photograph, or a whole slide with its label",
        "9.1.1": "waveform",
        "481.5": "radiotherapy",
        "129": "curve",
        "99.99": "may hold text",
    }.items():
        with pytest.raises(PrivacyError, match=reason):
            deidentify(instance(suffix), everything)


@pytest.mark.parametrize("name", ["test-SR.dcm", "reportsi.dcm"])
def test_real_reports_keep_their_tree(name: str) -> None:
    source = dcmread(str(get_testdata_file(name, download=False)))
    result, _ = deidentify(source, POLICY)

    assert [i.RelationshipType for i in result.ContentSequence] == [i.RelationshipType for i in source.ContentSequence]
    for word in str(source.PatientName).replace("^", " ").split():
        assert len(word) < 5 or word.lower() not in str(result).lower()


def state() -> Dataset:
    text, graphic, annotation = Dataset(), Dataset(), Dataset()
    text.UnformattedTextValue = "Krovicssen, nodule 12 mm, Dr. Weber"
    text.BoundingBoxTopLeftHandCorner, text.BoundingBoxBottomRightHandCorner = [1.0, 2.0], [30.0, 40.0]
    text.BoundingBoxAnnotationUnits = "PIXEL"
    graphic.GraphicAnnotationUnits, graphic.GraphicDimensions, graphic.NumberOfGraphicPoints = "PIXEL", 2, 2
    graphic.GraphicData, graphic.GraphicType = [1.0, 2.0, 3.0, 4.0], "POLYLINE"
    annotation.GraphicLayer, annotation.TextObjectSequence, annotation.GraphicObjectSequence = (
        "LAYER1",
        Sequence([text]),
        Sequence([graphic]),
    )
    return instance(
        "11.1", GraphicAnnotationSequence=Sequence([annotation]), ContentLabel="KROVICSSEN", PresentationCreationDate="20210304"
    )


def test_a_presentation_state_keeps_its_lines_and_cleaned_text() -> None:
    result, _ = deidentify(state(), Policy(key=KEY, clean_graphics=True))
    annotation = result.GraphicAnnotationSequence[0]
    assert annotation.TextObjectSequence[0].UnformattedTextValue == "[NAME], nodule 12 mm, Dr. [NAME]"
    assert list(annotation.GraphicObjectSequence[0].GraphicData) == [1.0, 2.0, 3.0, 4.0]
    assert result.ContentLabel == ""
    assert "113103" in [c.CodeValue for c in result.DeidentificationMethodCodeSequence]


def overlaid() -> tuple[Dataset, np.ndarray[Any, Any]]:
    image = Image.new("L", (256, 96))
    draw = ImageDraw.Draw(image)
    draw.text((6, 4), "KROVICSSEN ANNA", fill=255, font=ImageFont.load_default(16))
    draw.ellipse((100, 50, 140, 90), outline=255)
    plane = (np.asarray(image) > 127).astype(np.uint8)
    dataset = instance("2", Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 8, 8, 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = np.arange(64, dtype="<u2").tobytes()
    for element, vr, value in (
        (0x10, "US", 96),
        (0x11, "US", 256),
        (0x22, "LO", "of Krovicssen"),
        (0x40, "CS", "G"),
        (0x50, "SS", [1, 1]),
        (0x100, "US", 1),
        (0x102, "US", 0),
        (0x1500, "LO", "Anna"),
        (0x3000, "OW", np.packbits(plane, bitorder="little").tobytes()),
        (0x4000, "LT", "Krovicssen"),
    ):
        dataset.add_new(0x60000000 + element, vr, value)
    dataset.add_new(0x50003000, "OW", b"Krovicssen..")
    return dataset, plane


def test_overlays_go_or_lose_their_text_and_curves_always_go() -> None:
    dataset, plane = overlaid()
    result, _ = deidentify(dataset, Policy(key=KEY))
    assert not [element for element in result if element.tag.group >= 0x5000 and element.tag.group < 0x7FE0]
    pytest.importorskip("rapidocr_onnxruntime", reason="the extra ocr is absent")
    result, audit = deidentify(dataset, Policy(key=KEY, clean_graphics=True))
    kept = {element.tag.element for element in result.group_dataset(0x6000)}
    assert kept == {0x10, 0x11, 0x40, 0x50, 0x100, 0x102, 0x3000}
    after = np.unpackbits(np.frombuffer(result[0x60003000].value, np.uint8), bitorder="little").reshape(96, 256)
    assert not after[:26].any()
    np.testing.assert_array_equal(after[45:], plane[45:])
    assert (0x5000, 0x3000) not in result
    assert "text blanked" in {entry.action for entry in audit}


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_overlay_in_the_unused_bits_of_the_pixels_is_cleared(order: str) -> None:
    from pydicom.uid import ExplicitVRBigEndian

    dataset, _ = overlaid()
    del dataset[0x60003000]
    values = np.arange(64, dtype=np.uint16)
    dataset.PixelData = (values | 0xF000).astype(f"{order}u2").tobytes()
    if order == ">":
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    result, audit = deidentify(dataset, Policy(key=KEY))
    np.testing.assert_array_equal(np.frombuffer(result.PixelData, f"{order}u2"), values)
    assert "overlay bits cleared" in {entry.action for entry in audit}
    compressed = dataset
    compressed["PixelData"].is_undefined_length = True
    with pytest.raises(PrivacyError, match="unused bits of its compressed pixels"):
        deidentify(compressed, Policy(key=KEY))


def test_safe_private_attributes_stay_with_their_creators_and_all_else_private_goes() -> None:
    dataset, _ = overlaid()
    siemens = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    siemens.add_new(0x0C, "IS", 1000)
    siemens.add_new(0x0E, "FD", [0.0, 0.6, 0.8])
    siemens.add_new(0x0F, "LO", "unlisted")
    philips = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    philips.add_new(0x00, "DS", "0.000123")
    philips.add_new(0x03, "ST", "Krovicssen.pet")
    own = dataset.private_block(0x0099, "MERCY LAB", create=True)
    own.add_new(0x01, "DS", "2.5")
    impostor = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
    impostor.add_new(0x03, "LO", "MRN-7781")  # the b value, as text that names the patient
    impostor.add_new(0x04, "UN", b"Krovicssen")
    result, audit = deidentify(dataset, Policy(key=KEY, keep_safe_private=True))
    kept = {(e.tag.group, e.tag.element): e.value for e in result if e.tag.is_private}
    assert kept == {
        (0x0019, 0x0010): "SIEMENS MR HEADER",
        (0x0019, 0x100C): 1000,
        (0x0019, 0x100E): [0.0, 0.6, 0.8],
        (0x7053, 0x0010): "Philips PET Private Group",
        (0x7053, 0x1000): 0.000123,
    }
    assert {entry.tag for entry in audit if entry.keyword == "private"} >= {
        "(0019,100F)",
        "(7053,1003)",
        "(0099,1001)",
        "(2001,1003)",
        "(2001,1004)",
    }
    more = Policy(key=KEY, keep_safe_private=True, safe_private=frozenset({("mercy lab", 0x0099, 0x01)}))
    assert deidentify(dataset, more)[0][0x00991001].value == 2.5
    assert not [e for e in deidentify(dataset, Policy(key=KEY, safe_private=more.safe_private))[0] if e.tag.is_private]
    with pytest.raises(ValueError, match="odd group"):
        Policy(key=KEY, safe_private=frozenset({("MERCY LAB", 0x0098, 0x01)}))


def test_a_real_series_keeps_its_scale_slopes_and_b_values(shared_data: Path) -> None:
    path = sorted((shared_data / "dicom_multivendor" / "mr_philips_elition_mprage").glob("1301_000*.dcm"))[0]
    source = dcmread(path, stop_before_pixels=True)
    result, _ = deidentify(source, Policy(key=KEY, keep_safe_private=True))
    for creator, group, element in (("Philips MR Imaging DD 001", 0x2005, 0x0E), ("Philips Imaging DD 001", 0x2001, 0x03)):
        assert result.private_block(group, creator)[element].value == source.private_block(group, creator)[element].value
    kept = [e for e in result.iterall() if e.tag.is_private]
    assert 20 < len(kept) < len([e for e in source.iterall() if e.tag.is_private])
    assert not [e for e in deidentify(source, Policy(key=KEY))[0].iterall() if e.tag.is_private]
