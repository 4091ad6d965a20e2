import pytest
import torch

from medmodels import Intensity, Preprocessing, Progress, TrainingTask, create_model, load_encoder, save_artifact
from medpretrain import MAEConfig, MaskedAutoencoder, PretrainError, patchify, random_patch_mask

PATCH = 8
SIZE = {2: (24, 40), 3: (16, 24, 32)}
BACKBONES = [("vit_tiny", 2), ("vit_tiny", 3), ("resunet_tiny", 2), ("resunet_tiny", 3)]
each_backbone = pytest.mark.parametrize(("name", "dims"), BACKBONES)
START = Progress(0, 10)


def make(name: str, dims: int, **options) -> MaskedAutoencoder:
    torch.manual_seed(0)
    backbone = create_model(name, spatial_dims=dims, **({"patch_size": PATCH, "depth": 2} if name == "vit_tiny" else {}))
    preprocessing = Preprocessing(spatial_dims=dims, patch_size=SIZE[dims], axes="SPL" if dims == 3 else None, spacing_mm=(2.0,) * dims)
    config = MAEConfig(decoder_channels=48, decoder_depth=1, decoder_heads=4, **options)
    return MaskedAutoencoder(backbone, preprocessing, config, data_fingerprint="abc")


def batch_of(dims: int, count: int = 2, size: tuple[int, ...] | None = None) -> dict:
    """Smooth waves, each image another: something a small network can learn to continue."""
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in size or SIZE[dims]], indexing="ij")
    images = [torch.stack([torch.sin(axis * (0.2 + 0.05 * i) + i) for axis in axes]).sum(0) for i in range(count)]
    return {"image": torch.stack(images)[:, None], "key": [(0, 0, f"s{i}", 0) for i in range(count)]}


@each_backbone
def test_the_loss_falls_when_a_tiny_batch_is_learned_by_heart(name, dims):
    task = make(name, dims)
    assert isinstance(task, TrainingTask)
    optimiser = torch.optim.AdamW(task.param_groups(2e-3, 0.0))
    losses = []
    for step in range(30):
        loss = task(batch_of(dims), Progress(step, 30)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # An untrained network predicts about nothing, which costs about 1 in units of the patches' own variance.
    assert losses[0] > 0.8
    assert losses[-1] < 0.6 * losses[0]


@each_backbone
def test_a_step_is_a_pure_function_of_image_and_key(name, dims):
    task = make(name, dims).eval()
    batch = batch_of(dims)
    first = task(batch, START).loss
    torch.rand(5)
    assert torch.equal(task(batch, Progress(7, 10)).loss, first)
    # The mean over the batch of the two alone: every image hides as many patches.
    alone = [task({"image": batch["image"][i : i + 1], "key": batch["key"][i : i + 1]}, START).loss for i in range(2)]
    torch.testing.assert_close(first, torch.stack(alone).mean(), rtol=1e-4, atol=1e-5)
    other = {**batch, "key": [(0, 1, "s0", 0), (0, 1, "s1", 0)]}
    assert not torch.equal(task(other, START).loss, first)
    assert task(batch, START).logs["masked"].item() == pytest.approx(round(0.75 * _patches(dims)) / _patches(dims))


def _patches(dims: int) -> int:
    return int(torch.tensor([n // PATCH for n in SIZE[dims]]).prod())


@each_backbone
def test_the_prediction_never_sees_a_hidden_pixel(name, dims):
    task = make(name, dims, normalize_target=False).eval()
    batch = batch_of(dims)
    image, mask = task._prepare(batch)
    hidden = task._predict(image, mask, batch)
    changed = image.clone()
    pixels = _pixels(mask, dims)
    changed[pixels] += torch.randn(int(pixels.sum())) * 50
    assert torch.equal(task._predict(changed, mask, batch), hidden)
    assert not torch.equal(task._predict(image + (~pixels), mask, batch), hidden)


def _pixels(mask: torch.Tensor, dims: int) -> torch.Tensor:
    grid = mask.reshape(len(mask), 1, *[n // PATCH for n in SIZE[dims]])
    for axis in range(dims):
        grid = grid.repeat_interleave(PATCH, dim=axis + 2)
    return grid


@pytest.mark.parametrize("dims", [2, 3])
def test_a_vit_encodes_only_the_visible_tokens(dims):
    task = make("vit_tiny", dims)
    lengths = []
    task.backbone.blocks[0].register_forward_pre_hook(lambda module, arguments: lengths.append(arguments[0].shape[1]))
    task(batch_of(dims), START)
    assert lengths == [_patches(dims) - round(0.75 * _patches(dims))]


@each_backbone
def test_every_parameter_learns(name, dims):
    task = make(name, dims)
    task(batch_of(dims), START).loss.backward()
    assert [key for key, p in task.named_parameters() if p.grad is None or not p.grad.abs().any()] == []


@each_backbone
def test_norms_biases_and_the_mask_token_do_not_decay_and_every_parameter_is_in_one_group(name, dims):
    task = make(name, dims)
    decayed, free = task.param_groups(1e-3, 0.05)
    assert (decayed["lr"], decayed["weight_decay"], free["lr"], free["weight_decay"]) == (1e-3, 0.05, 1e-3, 0.0)
    names = {id(p): key for key, p in task.named_parameters()}
    assert sorted(names[id(p)] for group in (decayed, free) for p in group["params"]) == sorted(names.values())
    in_free = {names[id(p)] for p in free["params"]}
    assert in_free == {key for key in names.values() if key.endswith(("bias", "mask_token")) or "norm" in key}
    task.backbone.requires_grad_(False)
    left = [names[id(p)] for group in task.param_groups(1e-3, 0.05) for p in group["params"]]
    assert left
    assert all(key.startswith("decoder.") for key in left)


@each_backbone
@pytest.mark.parametrize("normalize", [True, False])
def test_a_reconstruction_keeps_visible_patches_and_paints_hidden_ones_in_the_images_values(name, dims, normalize):
    task = make(name, dims, normalize_target=normalize).eval()
    batch = batch_of(dims)
    batch["image"] = 100 * batch["image"] + 1000
    painted = task.reconstruct(batch)
    image, mask = task._prepare(batch)
    pixels = _pixels(mask, dims)
    assert torch.equal(painted[~pixels], batch["image"][~pixels])
    assert (painted[pixels] - batch["image"][pixels]).abs().max() > 1
    # The mean squared difference on hidden patches, in the loss's units, is the loss.
    difference = patchify(painted, task.patch) - patchify(image, task.patch)
    if normalize:
        difference = difference / (patchify(image, task.patch).var(dim=-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(difference[mask].square().mean(), task(batch, START).loss.detach(), rtol=1e-3, atol=1e-4)


@each_backbone
def test_odd_sizes_are_padded_to_whole_patches_and_cut_back(name, dims):
    task = make(name, dims)
    size = (17, 21, 30)[3 - dims :]
    batch = batch_of(dims, size=size)
    assert torch.isfinite(task(batch, START).loss)
    assert task.reconstruct(batch).shape == (2, 1, *size)


@each_backbone
def test_the_artifact_is_the_encoder_with_its_provenance_and_loads_again(name, dims, tmp_path):
    task = make(name, dims)
    artifact = task.artifact()
    assert (artifact.kind, artifact.module) == ("encoder", task.backbone)
    assert (artifact.card.objective, artifact.card.data_fingerprint, artifact.card.spacing_mm) == ("mae", "abc", (2.0,) * dims)
    assert artifact.card.code_version.startswith("medpretrain 0.")
    backbone, report = load_encoder(save_artifact(artifact, tmp_path / "encoder"), expect=task.preprocessing)
    assert report.fraction == 1.0
    x = batch_of(dims)["image"]
    assert torch.equal(backbone(x).pooled, task.backbone(x).pooled)
    assert dict(artifact.card.intensity) == {"kind": "zscore", "low": None, "high": None}


@each_backbone
def test_bfloat16_autocast_gives_about_the_same_loss(name, dims):
    task = make(name, dims)
    exact = task(batch_of(dims), START).loss.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = task(batch_of(dims), START).loss
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact, rel=0.05)


def test_an_image_and_a_mask_ratio_that_do_not_fit_are_named():
    task = make("vit_tiny", 2)
    with pytest.raises(PretrainError, match="the batch has no 'key'"):
        task({"image": torch.zeros(1, 1, 16, 16)}, START)
    with pytest.raises(PretrainError, match=r"hides 1 of 1 patches"):
        task(batch_of(2, size=(8, 8)), START)
    backbone = create_model("resunet_tiny", spatial_dims=3)
    with pytest.raises(PretrainError, match="preprocessing is for 2D images and the backbone for 3D"):
        MaskedAutoencoder(backbone, Preprocessing(spatial_dims=2, patch_size=(8, 8), intensity=Intensity()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio must lie between 0 and 1, got 1.0"),
        ({"decoder_heads": 3}, "256 channels, 3 heads"),
        ({"decoder_depth": 0}, "depth 0"),
    ],
)
def test_options_that_make_no_sense_are_named(options, message):
    with pytest.raises(PretrainError, match=message):
        MAEConfig(**options)


def test_masks_are_those_of_the_keyed_draw():
    task = make("vit_tiny", 2, mask_ratio=0.5)
    batch = batch_of(2)
    _, mask = task._prepare(batch)
    assert torch.equal(mask, random_patch_mask((3, 5), 0.5, batch["key"]))
