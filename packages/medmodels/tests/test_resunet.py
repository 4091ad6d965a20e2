import pytest
import torch
from torch import nn

from medmodels import ModelError, ResidualEncoder, UNetDecoder, VisionTransformer, create_model
from medmodels.resunet import ConvNorm


def test_the_norm_is_the_affine_instance_norm_in_value_and_gradient():
    torch.manual_seed(0)
    block = ConvNorm(3, 2, 4).double()
    nn.init.normal_(block.norm.weight)
    nn.init.normal_(block.norm.bias)
    x = torch.randn(2, 2, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    reference = torch.nn.functional.instance_norm(block.conv(x), weight=block.norm.weight, bias=block.norm.bias)
    torch.testing.assert_close(block(x), reference)
    towards = torch.randn_like(reference)
    ours = torch.autograd.grad((block(x) * towards).sum(), [x, *block.parameters()])
    theirs = torch.autograd.grad((reference * towards).sum(), [x, *block.parameters()])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@torch.no_grad()
def test_strides_may_differ_by_axis_for_thick_slices():
    torch.manual_seed(0)
    model = ResidualEncoder(spatial_dims=3, channels=(4, 8, 8), blocks=(1, 1, 1), strides=(1, (1, 2, 2), 2))
    assert model.strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    features = model(torch.randn(1, 1, 5, 18, 21))
    assert [tuple(m.shape[2:]) for m in features.maps] == [(5, 18, 21), (5, 9, 11), (3, 5, 6)]
    assert UNetDecoder(model, 2)(features, (5, 18, 21)).shape == (1, 2, 5, 18, 21)


@torch.no_grad()
def test_blanked_patches_follow_the_row_major_grid_of_the_coarsest_map():
    # grid 2 x 3 x 5 of patches (4, 4, 4); hide index 28 = (1, 2, 3): exactly that block is zero in what the stem sees.
    torch.manual_seed(0)
    model = ResidualEncoder(spatial_dims=3, channels=(4, 4, 4), blocks=(1, 1, 1))
    seen = []
    model.stem.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    mask = torch.zeros(1, 30, dtype=torch.bool)
    mask[0, 28] = True
    x = torch.rand(1, 1, 8, 11, 20) + 1.0
    model(x, mask=mask)
    expected = x.clone()
    expected[..., 4:8, 8:11, 12:16] = 0.0
    assert torch.equal(seen[0], expected)


def test_an_image_of_a_single_patch_is_refused_with_the_mend():
    with pytest.raises(ModelError, match=r"single patch of \(8, 8\); pad it, or use fewer stages"):
        create_model("resunet_tiny", spatial_dims=2)(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize(
    "arguments", [{"channels": (4, 8), "blocks": (1,)}, {"channels": (), "blocks": ()}, {"channels": (4,), "blocks": (0,)}]
)
def test_stages_that_do_not_agree_are_refused(arguments):
    with pytest.raises(ModelError, match="one entry a stage"):
        ResidualEncoder(spatial_dims=2, **arguments)


@torch.no_grad()
@pytest.mark.parametrize("patch", [8, (4, 16, 8), (3, 6, 6), 1])
def test_the_decoder_brings_a_vits_single_map_to_input_resolution(patch):
    torch.manual_seed(0)
    vit = VisionTransformer(spatial_dims=3, patch_size=patch, embed_dim=24, depth=1, heads=2)
    size = (7, 19, 12)
    x = torch.randn(2, 1, *size)
    assert UNetDecoder(vit, 5)(vit(x), size).shape == (2, 5, *size)
    assert UNetDecoder(vit, 5, image_skip=True)(vit(x), size, x).shape == (2, 5, *size)
    with pytest.raises(ModelError, match="needs the image"):
        UNetDecoder(vit, 5, image_skip=True)(vit(x), size)


@pytest.mark.parametrize("name", ["vit_tiny", "resunet_tiny"])
def test_every_parameter_of_the_decoder_takes_part_and_every_map_is_used(name):
    torch.manual_seed(0)
    backbone = create_model(name, spatial_dims=2, **({"patch_size": 8, "depth": 1} if name == "vit_tiny" else {}))
    decoder = UNetDecoder(backbone, 2)
    features = backbone(torch.randn(1, 1, 24, 40))
    logits = decoder(features, (24, 40))
    gradients = torch.autograd.grad(logits.square().sum(), [*features.maps, *decoder.parameters()])
    assert all(g.abs().max() > 0 for g in gradients)


def test_a_decoder_says_why_masked_features_cannot_be_decoded():
    vit = VisionTransformer(spatial_dims=2, patch_size=4, embed_dim=16, depth=1, heads=2)
    mask = torch.tensor([[True, False, False, True]])
    with pytest.raises(ModelError, match="encode without mask"):
        UNetDecoder(vit, 2)(vit(torch.randn(1, 1, 8, 8), mask=mask), (8, 8))


def test_widths_of_the_decoder_can_be_chosen_and_are_counted():
    backbone = create_model("resunet_tiny", spatial_dims=2)
    assert UNetDecoder(backbone, 2, channels=(6, 7, 9)).head.in_channels == 6
    with pytest.raises(ModelError, match="channels needs 3 widths"):
        UNetDecoder(backbone, 2, channels=(6, 7))
    with pytest.raises(ModelError, match="out_channels must be at least 1"):
        UNetDecoder(backbone, 0)
