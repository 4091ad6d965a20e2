"""Studies with identifiers planted wherever a file has room, made from a seed; and a scanner that knows nothing of medio."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT, SR, SEG, RTSTRUCT = (f"1.2.840.10008.5.1.4.1.1.{s}" for s in ("2", "88.33", "66.4", "481.3"))
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_STARTS = ("Bra", "Kro", "Vel", "Zim", "Tur", "Jor", "Ply", "Gwe", "Dox", "Fjo", "Quo", "Sne")
_MIDDLES = ("mol", "vic", "zan", "dre", "ket", "lum", "bor", "nix", "pag", "rost")
_ENDS = ("tberg", "kova", "ssen", "quist", "ndez", "wycz", "oglu", "reux", "hardt", "mura")
_FOREIGN = (("Müllendörfer", "Jürgen", "ISO_IR 100"), ("Łukaszczyk", "Błażej", "ISO_IR 101"), ("山田川", "太郎丸", "ISO_IR 192"))
_FOREIGN += (
    ("Кимитровская", "Ирина", "ISO_IR 144"),
    ("O'Brolligan", "Siobhán", "ISO_IR 192"),
    ("Brandt-Ziemsky", "Anne-Luise", "ISO_IR 100"),
)
_VENDOR = {"AttenuationCorrectionMethod", "ConvolutionKernel", "FilterType", "GridAbsorbingMaterial", "ImagedNucleus", "Manufacturer"}
_VENDOR |= {
    "ManufacturerModelName",
    "ModalityLUTType",
    "ReconstructionMethod",
    "RescaleType",
    "ScatterCorrectionMethod",
    "SegmentLabel",
    "SequenceName",
}
_VENDOR |= {"SoftwareVersions", "PulseSequenceName", "StackID", "ReceiveCoilName", "ReceiveCoilManufacturerName", "MultiCoilElementName"}
_VENDOR |= {"TransmitCoilName", "TransmitCoilManufacturerName", "LUTLabel", "LUTExplanation"}
# Terms of the scanner, which stay unless something that is known of the patient stands in them.
_STRUCTURAL = {"SpecificCharacterSet", "PatientID", "PatientName", "StationAETitle", "AccessionNumber", "TextValue", "PersonName"}


@dataclass
class Person:
    """One patient, and every string that tells who it is."""

    family: str
    given: str
    charset: str
    number: str
    birth: date
    words: list[str] = field(default_factory=list)
    studies: list[date] = field(default_factory=list)


@dataclass
class Planted:
    """One file, and what must not be found in its copy."""

    path: Path
    person: Person
    kind: str
    sop: str
    study: str
    day: date
    secrets: list[str]
    refers_to: str = ""


@pytest.fixture(scope="session")
def plant() -> Callable[..., list[Planted]]:
    """`plant(folder, studies, seed)` writes that many studies of fewer patients: a CT image each, and a report, a mask or contours of it.

    With `known`, what stands in attributes of the dictionary is what the header says of the patient, in its many forms; without it, words found nowhere else.
    """
    return _plant


@pytest.fixture(scope="session")
def scan_bytes() -> Callable[[bytes, list[str]], list[str]]:
    """`scan_bytes(data, secrets)` returns those that stand in the bytes in any usual encoding, whatever the case of ASCII letters."""
    return _scan


def _scan(data: bytes, secrets: list[str]) -> list[str]:
    low = data.lower()
    return [secret for secret in secrets if any(needle in low for needle in _needles(secret))]


def _needles(secret: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "latin-1", "iso8859_2", "iso8859_5"):
        for form in (secret, secret.upper(), secret.lower()):
            try:
                yield form.encode(encoding).lower()
            except UnicodeEncodeError:
                continue


def _plant(folder: Path, studies: int, seed: int, *, known: bool = False) -> list[Planted]:
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(seed)
    planted: list[Planted] = []
    person = _person(random, 0)
    for number in range(studies):
        if number and random.random() < 0.4:
            person = _person(random, number)
        day = date(2016, 1, 1) + timedelta(days=random.randrange(1500))
        person.studies.append(day)
        image = _Writer(folder, random, person, day, number, CT, "", known).write()
        other = (SR, SEG, RTSTRUCT)[number % 3]
        planted += [image, _Writer(folder, random, person, day, number, other, image.sop, known).write()]
    return planted


def _person(random: Random, number: int) -> Person:
    if random.random() < 0.2:
        family, given, charset = random.choice(_FOREIGN)
    else:
        family, given = (random.choice(_STARTS) + random.choice(_MIDDLES) + random.choice(_ENDS) for _ in range(2))
        charset = random.choice(["ISO_IR 100", "ISO_IR 192"])
    mrn = f"MRN-{random.randrange(10**6, 10**7)}{number:04d}"
    birth = date(1930, 1, 1) + timedelta(days=random.randrange(9000))
    person = Person(family, given, charset, mrn, birth)
    person.words = [family, given, mrn, mrn.removeprefix("MRN-"), f"{birth:%Y%m%d}"]
    return person


class _Writer:
    """Writes one file with secrets in every VR, at every depth."""

    def __init__(
        self, folder: Path, random: Random, person: Person, day: date, number: int, kind: str, refers_to: str, known: bool
    ) -> None:
        self.known = known
        self.random, self.person, self.day, self.number, self.kind, self.refers_to = random, person, day, number, kind, refers_to
        self.path = folder / f"{number:05d}_{kind.rsplit('.', 2)[-2]}_{kind.rsplit('.', 1)[-1]}.dcm"
        self.secrets = [*person.words, f"{day:%Y%m%d}"]
        self.study = generate_uid(entropy_srcs=[person.number, f"{day}", str(number)])
        self.sop = generate_uid(entropy_srcs=[self.study, kind])

    def token(self, length: int = 10) -> str:
        """A word that is found nowhere else."""
        word = "Z" + "".join(self.random.choices("bcdfghjklmnpqrstvwxz", k=length - 1)).upper()
        self.secrets.append(word)
        return word

    def write(self) -> Planted:
        dataset = self.header()
        if self.kind == CT:
            self.image(dataset)
        elif self.kind == SR:
            dataset.ContentSequence = Sequence(self.content())
            dataset.CurrentRequestedProcedureEvidenceSequence = Sequence([self.evidence()])
        elif self.kind == SEG:
            self.image(dataset)
            dataset.ReferencedSeriesSequence = Sequence([self.evidence().ReferencedSeriesSequence[0]])
        else:
            self.contours(dataset)
        self.everywhere(dataset)
        for item in (self.everywhere(Dataset()) for _ in range(2)):
            self.random.choice([dataset, *self.items(dataset)]).OtherPatientIDsSequence = Sequence([item])
        self.private(dataset)
        dataset.preamble = f"{self.token()} {self.person.family[:20]}".encode()[:120].ljust(128, b"\0")
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.SourceApplicationEntityTitle = self.token()
        dataset.file_meta.PrivateInformationCreatorUID = "1.2.3.4.5.678"
        dataset.file_meta.PrivateInformation = self.token().encode()
        dcmwrite(self.path, dataset, enforce_file_format=True)
        with self.path.open("ab") as file:
            text = self.token().encode().ljust(64)
            file.write(b"\xfc\xff\xfc\xffOB\0\0" + len(text).to_bytes(4, "little") + text)
        return Planted(self.path, self.person, self.kind, self.sop, self.study, self.day, self.secrets, self.refers_to)

    def header(self) -> Dataset:
        person, dataset = self.person, Dataset()
        dataset.SpecificCharacterSet = person.charset
        dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.StudyInstanceUID = self.kind, self.sop, self.study
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[self.study, self.kind, "series"])
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[self.study, "frame"])
        self.secrets += [self.study, self.sop, str(dataset.SeriesInstanceUID), str(dataset.FrameOfReferenceUID)]
        dataset.PatientID = self.random.choice(["{}", " {} ", "{}"]).format(person.number)
        dataset.PatientName = f"{person.family}^{person.given}^^Dr."
        dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = f"{person.birth:%Y%m%d}", "F", "071Y"
        dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = f"{self.day:%Y%m%d}"
        dataset.StudyTime, dataset.AcquisitionDateTime = "101112", f"{self.day:%Y%m%d}101213.5+0100"
        dataset.AccessionNumber = f"ACC{self.token()}"
        dataset.Modality = {CT: "CT", SR: "SR", SEG: "SEG", RTSTRUCT: "RTSTRUCT"}[self.kind]
        doctor = self.token()
        dataset.ReferringPhysicianName, dataset.OperatorsName = f"{doctor}^{self.token()}", [f"{self.token()}^A", f"{self.token()}^B"]
        dataset.InstitutionName, dataset.InstitutionAddress = f"{self.token()} Hospital", f"12 {self.token()} Street\r\n{self.token()}"
        dataset.PatientTelephoneNumbers = "+49 30 " + (phone := f"55{self.random.randrange(10**5, 10**6)}")
        self.secrets.append(phone)
        # Kept and cleaned: what is known of the patient stands in them in many forms.
        dataset.StudyDescription = f"CT CHEST {person.family.upper()}"
        dataset.SeriesDescription = f"Thorax 2.0 {doctor.lower()}"
        dataset.ImageComments = self.prose(doctor)
        dataset.ManufacturerModelName, dataset.Manufacturer = f"Scanner of {person.family}", "ACME"
        dataset.SequenceName = person.number
        return dataset

    def prose(self, doctor: str) -> str:
        person, day = self.person, self.day
        return (
            f"{person.given} {person.family}, MRN {person.number.removeprefix('MRN-')}, born {person.birth:%m/%d/%Y}, seen {day:%Y-%m-%d} and "
            f"{day:%d.%m.%Y}. {person.family.upper()}, {person.given}. Referred by {doctor}. Nodule 12 x 8 mm at L4-L5, T2. Call 555-123-4567."
        )

    def image(self, dataset: Dataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.Rows = dataset.Columns = 8
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.PixelData = np.arange(64, dtype="<u2").tobytes()
        dataset.add_new(0x60000010, "US", 8)
        dataset.add_new(0x60000011, "US", 8)
        dataset.add_new(0x60000022, "LO", self.token())
        dataset.add_new(0x60003000, "OW", self.token(8).encode().ljust(8))
        dataset.add_new(0x60004000, "LT", self.token())
        dataset.add_new(0x50003000, "OW", self.token(8).encode().ljust(8))
        dataset.SharedFunctionalGroupsSequence = Sequence([self.everywhere(Dataset())])

    def evidence(self) -> Dataset:
        study, series, instance = Dataset(), Dataset(), Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = CT, self.refers_to
        series.SeriesInstanceUID = generate_uid(entropy_srcs=[self.study, CT, "series"])
        series.ReferencedSOPSequence = Sequence([instance])
        series.ReferencedInstanceSequence = Sequence([instance])
        study.StudyInstanceUID, study.ReferencedSeriesSequence = self.study, Sequence([series])
        return study

    def content(self) -> list[Dataset]:
        items = [
            self.item("TEXT", "121071", TextValue=self.prose(str(self.token()))),
            self.item("PNAME", "121008", PersonName=f"{self.token()}^Observer"),
            self.item("PNAME", "121029", PersonName=f"{self.person.family}^{self.person.given}"),
            self.item("TEXT", "121009", TextValue=self.token()),
            self.item("DATE", "121031", Date=f"{self.person.birth:%Y%m%d}"),
            self.item("DATETIME", "111526", DateTime=f"{self.day:%Y%m%d}101112"),
            self.item("UIDREF", "112040", UID=self.sop),
        ]
        group = self.item("CONTAINER", "121070")
        group.ContinuityOfContent = "SEPARATE"
        group.ContentSequence = Sequence(
            [self.item("TEXT", "121071", TextValue=f"{self.person.family} is well. Signed by: {self.token().title()}")]
        )
        return [*items, group]

    def item(self, kind: str, concept: str, **values: Any) -> Dataset:
        item, name = Dataset(), Dataset()
        name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = concept, "DCM", "Concept"
        item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", kind, Sequence([name])
        for keyword, value in values.items():
            setattr(item, keyword, value)
        return item

    def contours(self, dataset: Dataset) -> None:
        roi, image, contour, group = Dataset(), Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIDescription = 1, f"GTV {self.person.family}", self.word()
        dataset.StructureSetLabel, dataset.StructureSetROISequence = self.word()[:16], Sequence([roi])
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CT, self.refers_to
        contour.ContourImageSequence, contour.ContourGeometricType = Sequence([image]), "POINT"
        contour.NumberOfContourPoints, contour.ContourData = 1, [1.5, 2.5, 3.5]
        group.ContourSequence, group.ReferencedROINumber = Sequence([contour]), 1
        dataset.ROIContourSequence = Sequence([group])

    def everywhere(self, dataset: Dataset) -> Dataset:
        """Plant words in random attributes of the dictionary, of each VR that holds text."""
        for vr, keywords in _TEXT_KEYWORDS.items():
            for keyword in self.random.sample(keywords, min(2, len(keywords))):
                if keyword not in dataset:
                    setattr(dataset, keyword, self.form(vr) if self.known or keyword in _VENDOR else self.token())
        return dataset

    def word(self) -> str:
        """What stands where text is kept and cleaned: only rules that know the patient can find it."""
        return self.form("SH") if self.known else self.token()

    def form(self, vr: str) -> str:
        """What the header says of the patient, as people write it elsewhere."""
        person, digits = self.person, self.person.number.removeprefix("MRN-")
        forms = [
            person.family.upper(),
            person.given,
            digits,
            f"00{digits}",
            person.number.lower(),
            f"{person.family}'s",
            f"*{person.given}*",
        ]
        if vr in ("LO", "LT", "ST", "UC", "UT"):
            forms += [
                f"of {person.given} {person.family}",
                f"{self.day:%Y-%m-%d} {person.family}, {person.given}",
                f"{person.family} {self.day:%d.%m.%Y}",
            ]
        if vr in ("AE", "UR", "CS"):
            return digits
        return self.random.choice(forms)

    def private(self, dataset: Dataset) -> None:
        block = dataset.private_block(0x0009, f"ACME {self.token()}", create=True)
        for number, vr in enumerate(("LO", "SH", "LT", "UT", "PN", "ST", "UC", "CS"), start=1):
            block.add_new(number, vr, self.token())
        block.add_new(0x20, "OB", self.token().encode().ljust(12))
        block.add_new(0x21, "UN", self.token().encode().ljust(12))
        block.add_new(0x22, "DA", f"{self.person.birth:%Y%m%d}")
        siemens = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        siemens.add_new(0x0C, "IS", 1000)
        siemens.add_new(
            0x0D, "CS", self.person.number if self.known else self.token()
        )  # not what a direction looks like, but the VR allows it
        siemens.add_new(0x10, "LO", self.token())

    @staticmethod
    def items(dataset: Dataset) -> list[Dataset]:
        return [item for element in dataset if element.VR == "SQ" for item in element.value]


def _text_keywords() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for tag in DicomDictionary:
        vr, keyword = dictionary_VR(tag), keyword_for_tag(tag)
        if vr not in ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT") or tag >> 16 in (0, 2, 4) or not keyword:
            continue
        if keyword not in _STRUCTURAL and not keyword.startswith("Code"):
            found.setdefault(vr, []).append(keyword)
    return {vr: sorted(keywords) for vr, keywords in found.items()}


_TEXT_KEYWORDS = _text_keywords()
