"""What every registered model promises, in 2D and 3D."""

import copy

import pytest
import torch
from torch import Tensor, nn

from medmodels import Backbone, Features, ModelError, create_model, list_models, patch_grid

# Quick on small images: fewer transformer blocks, small patches, less stride (an instance norm over four pixels would magnify rounding).
SMALL = {
    "vit_tiny": {"patch_size": 8, "depth": 3},
    "vit_small": {"patch_size": 8, "depth": 2},
    "vit_base": {"patch_size": 8, "depth": 2},
    "resunet_base": {"strides": [2, 2, 2, 1, 1, 1]},
}
ODD = {2: (41, 70), 3: (18, 33, 41)}
CASES = [
    pytest.param(name, dims, marks=pytest.mark.slow) if name.endswith("_base") else (name, dims)
    for name in list_models()
    for dims in (2, 3)
]
every_model = pytest.mark.parametrize(("name", "dims"), CASES)


def build(name: str, dims: int, in_channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    model = create_model(name, spatial_dims=dims, in_channels=in_channels, **SMALL.get(name, {}))
    assert isinstance(model, nn.Module)
    return model.eval()


def image_for(model: Backbone, dims: int, batch: int = 2, in_channels: int = 1) -> Tensor:
    return torch.randn(batch, in_channels, *ODD[dims], generator=torch.Generator().manual_seed(1))


def tensors(features: Features) -> list[Tensor]:
    return [*features.maps, *([] if features.tokens is None else [features.tokens]), features.pooled]


@every_model
@torch.no_grad()
def test_maps_strides_and_channels_are_as_the_attributes_say_at_odd_sizes(name, dims):
    model = build(name, dims, in_channels=2)
    assert isinstance(model, Backbone)
    assert (model.spatial_dims, model.in_channels) == (dims, 2)
    features = model(image_for(model, dims, in_channels=2))
    assert len(features.maps) == len(model.channels) == len(model.strides)
    for m, channels, stride in zip(features.maps, model.channels, model.strides, strict=True):
        assert m.shape == (2, channels, *patch_grid(ODD[dims], stride))
    assert features.pooled.shape == (2, model.channels[-1])
    assert list(model.strides) == sorted(model.strides)
    if features.tokens is not None:
        assert torch.equal(features.tokens.transpose(1, 2).reshape(features.maps[-1].shape), features.maps[-1])


@every_model
@torch.no_grad()
def test_a_batch_is_its_images_one_by_one(name, dims):
    # In float64, where rounding cannot hide a leak between the images, nor a deep network's growth of it look like one.
    model = build(name, dims).double()
    x = image_for(model, dims).double()
    singles = [tensors(model(x[i : i + 1])) for i in range(2)]
    for i, whole in enumerate(tensors(model(x))):
        torch.testing.assert_close(whole, torch.cat([single[i] for single in singles]), rtol=1e-9, atol=1e-9)


@every_model
def test_weights_depend_on_the_seed_alone_and_the_card_builds_the_model_again(name, dims):
    first = build(name, dims)
    torch.rand(7)
    torch.manual_seed(0)
    again = create_model(first.card.arch, **first.card.kwargs).state_dict()
    assert first.card.arch == name
    assert list(first.state_dict()) == list(again)
    assert all(torch.equal(value, again[key]) for key, value in first.state_dict().items())
    torch.manual_seed(1)
    other = create_model(name, **first.card.kwargs).state_dict()
    assert any(not torch.equal(value, other[key]) for key, value in first.state_dict().items())


@every_model
@torch.no_grad()
def test_bfloat16_autocast_stays_close_to_float32(name, dims):
    model = build(name, dims)
    x = image_for(model, dims, batch=1)
    exact = model(x).pooled
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(x).pooled.float()
    # bfloat16 keeps 8 bits, 0.4 % an operation; tens of layers in a row stay within a few per cent of the vector's length.
    assert (rough - exact).norm() / exact.norm() < 0.05


@every_model
def test_layer_index_covers_every_parameter_and_grows_with_depth(name, dims):
    model = build(name, dims)
    depths = [model.layer_index(parameter) for parameter, _ in model.named_parameters()]
    assert depths == sorted(depths)
    assert depths[0] == 0
    assert set(depths) == set(range(max(depths) + 1))
    assert max(depths) >= len(model.shardable_blocks())
    with pytest.raises(ModelError, match=r"no parameter 'decoder.weight'"):
        model.layer_index("decoder.weight")


@every_model
def test_shardable_blocks_are_parts_of_the_model_and_hold_most_of_it(name, dims):
    model = build(name, dims)
    blocks = model.shardable_blocks()
    assert {id(block) for block in blocks} <= {id(part) for part in model.modules()}
    assert len({id(block) for block in blocks}) == len(blocks) > 0
    held = sum(p.numel() for block in blocks for p in block.parameters())
    assert held > 0.5 * sum(p.numel() for p in model.parameters())


@every_model
@torch.no_grad()
def test_hidden_patches_have_no_part_in_the_result(name, dims):
    model = build(name, dims)
    size = tuple(3 * s if axis == dims - 1 else 2 * s for axis, s in enumerate(model.strides[-1]))
    grid = patch_grid(size, model.strides[-1])
    count = int(torch.tensor(grid).prod())
    mask = torch.zeros(1, count, dtype=torch.bool)
    mask[0, [1, count - 1]] = True
    x = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(2))
    changed = x.clone()
    pixels = mask.reshape(1, 1, *grid)
    for axis, step in enumerate(model.strides[-1]):
        pixels = pixels.repeat_interleave(step, dim=axis + 2)
    changed[pixels] += 100.0
    for before, after in zip(tensors(model(x, mask=mask)), tensors(model(changed, mask=mask)), strict=True):
        assert torch.equal(before, after)
    # one visible pixel does count
    visible = x.clone()
    visible[0, 0][(0,) * dims] += 1.0
    assert not torch.equal(model(visible, mask=mask).pooled, model(x, mask=mask).pooled)


@every_model
def test_every_parameter_gets_a_gradient_without_and_with_a_mask(name, dims):
    model = copy.deepcopy(build(name, dims)).train()
    size = tuple(2 * s for s in model.strides[-1])
    count = 2**dims
    mask = torch.arange(count)[None].ge(count // 2)
    for given in (None, mask):
        model.zero_grad()
        model(torch.randn(1, 1, *size), mask=given).pooled.square().sum().backward()
        assert [key for key, p in model.named_parameters() if p.grad is None] == []


@every_model
def test_a_wrong_image_or_mask_is_named(name, dims):
    model = build(name, dims)
    with pytest.raises(ModelError, match=r"expected an image \(B, 1, "):
        model(torch.zeros(1, 2, *ODD[dims]))
    with pytest.raises(ModelError, match="expected a bool mask"):
        model(image_for(model, dims), mask=torch.zeros(2, 3, dtype=torch.bool))
