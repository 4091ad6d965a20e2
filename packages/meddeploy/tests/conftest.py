import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from torch import nn

from meddeploy import Bundle, export
from medio import Image
from medmodels import Artifact, EncoderCard, Intensity, LinearHead, Preprocessing, UNetDecoder, create_model


class Threshold(nn.Module):
    """Bright is 1: logits (0, 20 x) of the normalised image, so that the mask is known by hand. Window [0, 200] puts the step at 100."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.convolution = (nn.Conv3d if dims == 3 else nn.Conv2d)(1, 2, 1)
        with torch.no_grad():
            self.convolution.weight[:, 0].flatten(1)[:] = torch.tensor([[0.0], [20.0]])
            self.convolution.bias.zero_()

    def forward(self, image):
        return self.convolution(image)


class SegmentationNet(nn.Module):
    def __init__(self, backbone, classes):
        super().__init__()
        self.backbone = backbone
        self.decoder = UNetDecoder(backbone, classes)

    def forward(self, image):
        return self.decoder(self.backbone(image), tuple(image.shape[2:]))


class ClassificationNet(nn.Module):
    def __init__(self, backbone, labels):
        super().__init__()
        self.backbone = backbone
        self.head = LinearHead(backbone.channels[-1], labels)

    def forward(self, image):
        return self.head(self.backbone(image))


def threshold_artifact(dims=3, *, patch=None, **preprocessing) -> Artifact:
    pre = Preprocessing(
        spatial_dims=dims, patch_size=patch or (8,) * dims, intensity=Intensity(kind="window", low=0, high=200), **preprocessing
    )
    card = EncoderCard(arch="threshold", kwargs={"in_channels": 1})
    return Artifact(kind="segmentation", module=Threshold(dims), card=card, preprocessing=pre, classes=("background", "bright"))


def network_artifact(name="resunet_tiny", dims=3, classes=("background", "a", "b"), **kwargs) -> Artifact:
    torch.manual_seed(0)
    backbone = create_model(name, spatial_dims=dims, **kwargs)
    pre = Preprocessing(spatial_dims=dims, patch_size=(16,) * dims)
    return Artifact(
        kind="segmentation", module=SegmentationNet(backbone, len(classes)), card=backbone.card, preprocessing=pre, classes=classes
    )


def classifier_artifact(calibration=None, **kwargs) -> Artifact:
    torch.manual_seed(0)
    backbone = create_model("resunet_tiny", spatial_dims=2)
    pre = Preprocessing(spatial_dims=2, patch_size=(16, 24), whole_image=True, intensity=Intensity(kind="percentile"), **kwargs)
    module = ClassificationNet(backbone, 2)
    nn.init.normal_(module.head.linear.weight, std=1.0)
    return Artifact(
        kind="classification",
        module=module,
        card=backbone.card,
        preprocessing=pre,
        classes=("effusion", "nodule"),
        calibration=calibration or {},
    )


def lps(shape, spacing, origin=(-20.0, -30.0, 40.0)) -> np.ndarray:
    """Affine of an axial volume whose axes run S, P, L."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing
    affine[:3, 3], affine[3, 3] = origin, 1
    return affine


def ball(shape=(12, 20, 24), spacing=(3.0, 1.5, 1.5), radius=9.0) -> Image:
    """A ball of 200 in 0, edges softened over 4 mm, off the centre of the volume."""
    affine = lps(shape, spacing)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    centre = (np.array(shape) - 1) / 2 * np.array(spacing) + [1.5, -1.0, 2.0]
    distance = np.linalg.norm(index * np.array(spacing) - centre, axis=-1)
    return Image(np.clip(100 + 50 * (radius - distance) / 1.0, 0, 200).astype(np.float32), affine, spacing)


@pytest.fixture
def ct_series(tmp_path) -> Callable[[Image], Path]:
    """Write a volume as a folder of CT slices."""

    def write(image: Image, name="ct") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        study, series, frame = generate_uid(), generate_uid(), generate_uid()
        assert image.affine is not None
        for z, plane in enumerate(image.array.astype(np.int16)):
            ds = Dataset()
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
            ds.Modality, ds.PatientID, ds.PatientName, ds.StudyID = "CT", "P1", "Phantom^One", "1"
            ds.PatientBirthDate = ds.PatientSex = ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ""
            ds.InstanceNumber, ds.SeriesNumber = z + 1, 1
            ds.Rows, ds.Columns = plane.shape
            ds.PixelSpacing = [image.spacing[1], image.spacing[2]]
            ds.SliceThickness = image.spacing[0]
            ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            ds.ImagePositionPatient = (image.affine @ [z, 0, 0, 1])[:3].tolist()
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
            ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
            ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "HU"
            ds.PixelData = plane.tobytes()
            ds.save_as(folder / f"{z:03d}.dcm", enforce_file_format=True)
        return folder

    return write


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Builders of artifacts and images, whose docstrings say what is known about them."""
    return SimpleNamespace(
        threshold=threshold_artifact, network=network_artifact, classifier=classifier_artifact, ball=ball, lps=lps, Threshold=Threshold
    )


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> tuple[Artifact, Bundle]:
    artifact = network_artifact()
    return artifact, export(artifact, tmp_path_factory.mktemp("network") / "bundle")


@pytest.fixture(scope="session")
def threshold(tmp_path_factory) -> Bundle:
    """The threshold network on volumes as they come."""
    return export(threshold_artifact(), tmp_path_factory.mktemp("threshold") / "bundle")


@pytest.fixture(scope="session")
def film_threshold(tmp_path_factory) -> Bundle:
    """The threshold network on films as they come."""
    return export(threshold_artifact(dims=2), tmp_path_factory.mktemp("film_threshold") / "bundle")


@pytest.fixture
def copied(tmp_path) -> Callable[[Bundle], Path]:
    """A copy of a bundle's folder, to be damaged."""

    def copy(bundle: Bundle) -> Path:
        return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))

    return copy
