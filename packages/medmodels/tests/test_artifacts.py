import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from medmodels import (
    Artifact,
    ArtifactError,
    EncoderMismatchError,
    Intensity,
    Preprocessing,
    UNetDecoder,
    artifacts,
    create_model,
    load_encoder,
    read_artifact,
    save_artifact,
)

PREPROCESSING = Preprocessing(
    spatial_dims=3,
    patch_size=(16, 16, 16),
    spacing_mm=(3.0, 1.0, 1.0),
    axes="SPL",
    intensity=Intensity(kind="window", low=-1000.0, high=400.0),
)


def trained(name: str = "resunet_tiny", seed: int = 0, **kwargs) -> Artifact:
    torch.manual_seed(seed)
    backbone = create_model(name, spatial_dims=3, **kwargs)
    intensity = PREPROCESSING.to_dict()["intensity"]
    card = replace(backbone.card, axes="SPL", spacing_mm=(3.0, 1.0, 1.0), intensity=intensity, objective="mae", citations=("a", "b"))
    return Artifact(
        kind="encoder", module=backbone, card=card, preprocessing=PREPROCESSING, calibration={"scale": (1.5,)}, config={"k": [1, 2]}
    )


class Segmenter(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.decoder = UNetDecoder(backbone, 2)


@pytest.mark.parametrize("name", ["resunet_tiny", "vit_tiny"])
def test_what_was_saved_is_read_back_bit_for_bit(tmp_path, name):
    kwargs = {"patch_size": (8, 4, 4), "depth": 2} if name == "vit_tiny" else {}
    artifact = trained(name, **kwargs)
    folder = save_artifact(artifact, tmp_path / "a" / "encoder")
    state, metadata = read_artifact(folder)
    assert sorted(state) == sorted(artifact.module.state_dict())
    assert all(torch.equal(state[key], value) for key, value in artifact.module.state_dict().items())
    assert Preprocessing.from_dict(metadata["preprocessing"]) == PREPROCESSING
    assert (metadata["kind"], metadata["calibration"], metadata["config"]) == ("encoder", {"scale": [1.5]}, {"k": [1, 2]})
    backbone, report = load_encoder(folder, expect=PREPROCESSING)
    assert (report.fraction, report.missing, report.unexpected, report.mismatched) == (1.0, (), (), ())
    assert backbone.card.objective == "mae"
    assert backbone.card.spacing_mm == (3.0, 1.0, 1.0)
    x = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(backbone(x).pooled, artifact.module(x).pooled)


def test_saving_again_replaces_the_artifact_and_leaves_nothing_beside_it(tmp_path):
    save_artifact(trained(seed=0), tmp_path / "encoder")
    second = trained(seed=1)
    save_artifact(second, tmp_path / "encoder")
    state, _ = read_artifact(tmp_path / "encoder")
    assert all(torch.equal(state[key], value) for key, value in second.module.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


@pytest.mark.parametrize("fails", ["save_file", "_flush", "_replace"])
def test_a_save_that_breaks_off_leaves_the_old_artifact_whole(tmp_path, monkeypatch, fails):
    first = trained(seed=0)
    save_artifact(first, tmp_path / "encoder")

    def full_disk(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(artifacts, fails, full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_artifact(trained(seed=1), tmp_path / "encoder")
    state, _ = read_artifact(tmp_path / "encoder")
    assert all(torch.equal(state[key], value) for key, value in first.module.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="exists and is no artifact"):
        save_artifact(trained(), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_backbone_without_a_name_cannot_be_saved(tmp_path):
    artifact = trained()
    with pytest.raises(ArtifactError, match="build the backbone with create_model"):
        save_artifact(replace(artifact, card=replace(artifact.card, arch="")), tmp_path / "encoder")


def test_missing_altered_and_foreign_files_are_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere: no artifact.json; give the folder"):
        read_artifact(tmp_path / "nowhere")
    folder = save_artifact(trained(), tmp_path / "encoder")
    whole = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(whole[:-4] + b"\0\0\0\1")
    with pytest.raises(ArtifactError, match=r"weights.safetensors: not the weights that artifact.json describes"):
        load_encoder(folder)
    (folder / "weights.safetensors").write_bytes(whole)
    text = (folder / "artifact.json").read_text()
    (folder / "artifact.json").write_text(text[: len(text) // 2])
    with pytest.raises(ArtifactError, match=r"artifact.json: not JSON"):
        read_artifact(folder)
    (folder / "artifact.json").write_text(json.dumps(json.loads(text) | {"format": 99}))
    with pytest.raises(ArtifactError, match="format 99, this version reads 1"):
        read_artifact(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": "SAR"}, "axes are SPL in the artifact and SAR here"),
        ({"spacing_mm": (1.0, 1.0, 3.0)}, r"spacing_mm is \(3.0, 1.0, 1.0\) in the artifact and \(1.0, 1.0, 3.0\) here"),
        ({"spacing_mm": None}, "spacing_mm is .* and None here"),
        ({"intensity": Intensity(kind="window", low=-1000.0, high=1000.0)}, r"intensity is .*'high': 400.0.* and .*'high': 1000.0"),
        ({"intensity": Intensity(kind="zscore")}, r"intensity is .*window.* and .*zscore"),
    ],
)
def test_images_prepared_otherwise_than_in_training_are_refused(tmp_path, change, message):
    folder = save_artifact(trained(), tmp_path / "encoder")
    with pytest.raises(EncoderMismatchError, match=message):
        load_encoder(folder, expect=replace(PREPROCESSING, **change))


def test_a_card_without_spacing_takes_any_and_patch_size_is_free(tmp_path):
    artifact = trained()
    folder = save_artifact(replace(artifact, card=replace(artifact.card, spacing_mm=None)), tmp_path / "encoder")
    _, report = load_encoder(folder, expect=replace(PREPROCESSING, spacing_mm=(1.0, 2.0, 2.0), patch_size=(32, 32, 32)))
    assert report.fraction == 1.0


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resunet_tiny", {"spatial_dims": 2}, "spatial_dims is 3 in the artifact and 2 here"),
        ("resunet_tiny", {"spatial_dims": 3, "in_channels": 2}, "in_channels is 1 in the artifact and 2 here"),
        ("resunet_small", {"spatial_dims": 3}, "arch is resunet_tiny in the artifact and resunet_small here"),
    ],
)
def test_another_network_is_refused_and_left_as_it_was(tmp_path, name, arguments, message):
    folder = save_artifact(trained(), tmp_path / "encoder")
    other = create_model(name, **arguments)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(EncoderMismatchError, match=message):
        load_encoder(folder, into=other)
    with pytest.raises(EncoderMismatchError, match=message):
        create_model(name, pretrained=folder, **arguments)
    assert all(torch.equal(before[key], value) for key, value in other.state_dict().items())


def test_an_encoder_that_matches_in_part_is_refused_below_the_threshold_and_reported_above_it(tmp_path):
    # A ViT of 2 blocks into one of 4: patch embedding 2 + 2 blocks of 12 + norm 2 = 28 of 52 tensors match.
    folder = save_artifact(trained("vit_tiny", patch_size=8, depth=2), tmp_path / "encoder")
    deeper = create_model("vit_tiny", spatial_dims=3, patch_size=8, depth=4)
    with pytest.raises(
        EncoderMismatchError,
        match=r"only 54% of the network's 52 tensors matched, 90% are asked for \(first without a match: blocks.2.norm1.weight",
    ):
        load_encoder(folder, into=deeper)
    _, report = load_encoder(folder, into=deeper, min_matched=0.5)
    assert len(report.matched) == 28
    assert len(report.missing) == 24
    assert report.fraction == pytest.approx(28 / 52)
    assert deeper.card.kwargs["depth"] == 4
    coarser = create_model("vit_tiny", spatial_dims=3, patch_size=4, depth=2)
    _, report = load_encoder(folder, into=coarser)
    assert report.mismatched == ("patch_embed.weight",)


def test_a_tasks_artifact_gives_its_backbone(tmp_path):
    artifact = trained()
    module = Segmenter(artifact.module)
    folder = save_artifact(replace(artifact, kind="segmentation", module=module, classes=("background", "organ")), tmp_path / "task")
    backbone, report = load_encoder(folder)
    assert report.fraction == 1.0
    assert report.unexpected == ()
    assert all(torch.equal(value, backbone.state_dict()[key]) for key, value in artifact.module.state_dict().items())
    filled = create_model("resunet_tiny", spatial_dims=3, pretrained=folder)
    assert filled.card.objective == "mae"
