import pytest
import torch

from medmodels import ModelError, VisionTransformer, sincos_positions


def tiny(**kwargs) -> VisionTransformer:
    torch.manual_seed(0)
    arguments = {"spatial_dims": 3, "patch_size": 4, "embed_dim": 24, "depth": 2, "heads": 2} | kwargs
    return VisionTransformer(**arguments).eval()


@torch.no_grad()
def test_tokens_run_row_major_z_slowest_on_an_unequal_grid():
    # Without blocks a token is the norm of (its own patch's embedding + its position). Light one patch at (z, y, x) = (1, 2, 3) of a grid
    # 2 x 3 x 5: row-major its index is (1 * 3 + 2) * 5 + 3 = 28.
    model = tiny(depth=0)
    dark = torch.zeros(1, 1, 8, 12, 20)
    lit = dark.clone()
    lit[..., 4:8, 8:12, 12:16] = 1.0
    changed = (model(lit).tokens - model(dark).tokens).abs().sum(-1)[0].nonzero().flatten().tolist()
    assert changed == [28]
    on_map = (model(lit).maps[0] - model(dark).maps[0]).abs().sum(1)[0].nonzero().tolist()
    assert on_map == [[1, 2, 3]]


def test_positions_of_an_unequal_grid_follow_the_formula():
    grid, channels = (2, 3, 5), 26  # 26 = 3 axes * 2 * 4 + 2 channels left at zero
    positions = sincos_positions(grid, channels).reshape(*grid, channels)
    z, y, x = 1, 2, 4
    frequency = [10000 ** (-k / 4) for k in range(4)]
    expected = []
    for index in (z, y, x):
        expected += [torch.sin(torch.tensor(index * f)) for f in frequency] + [torch.cos(torch.tensor(index * f)) for f in frequency]
    torch.testing.assert_close(positions[z, y, x, :24], torch.stack(expected), atol=1e-6, rtol=0)
    assert positions[..., 24:].abs().max() == 0
    assert len(torch.unique(positions.reshape(-1, channels), dim=0)) == 30


@torch.no_grad()
def test_a_mask_keeps_the_visible_tokens_in_order_before_the_first_block():
    model = tiny(depth=0)
    x = torch.randn(2, 1, 8, 12, 20)
    mask = torch.zeros(2, 30, dtype=torch.bool)
    mask[0, ::2] = True
    mask[1, 1::2] = True
    everything = model(x).tokens
    seen = model(x, mask=mask)
    assert seen.maps == ()
    torch.testing.assert_close(seen.tokens[0], everything[0, 1::2])
    torch.testing.assert_close(seen.tokens[1], everything[1, ::2])
    counts = []
    deep = tiny(depth=1)
    deep.blocks[0].register_forward_pre_hook(lambda module, arguments: counts.append(arguments[0].shape[1]))
    deep(x, mask=mask)
    assert counts == [15]


def test_rows_that_hide_different_numbers_are_refused():
    mask = torch.zeros(2, 30, dtype=torch.bool)
    mask[0, :3] = True
    with pytest.raises(ModelError, match=r"same number of patches visible.*\[27, 30\]"):
        tiny()(torch.randn(2, 1, 8, 12, 20), mask=mask)


@torch.no_grad()
def test_an_image_that_is_no_multiple_of_the_patch_equals_its_border_repeated():
    model = tiny()
    x = torch.randn(1, 1, 7, 12, 18)
    repeated = torch.cat([x, x[:, :, -1:]], dim=2)
    repeated = torch.cat([repeated, repeated[..., -1:], repeated[..., -1:]], dim=-1)
    torch.testing.assert_close(model(x).tokens, model(repeated).tokens)


@torch.no_grad()
@pytest.mark.parametrize("layer_scale", [None, 0.3])
def test_2d_output_equals_timm_with_the_same_weights(layer_scale):
    timm = pytest.importorskip("timm")
    ours = tiny(spatial_dims=2, in_channels=3, embed_dim=48, heads=3, depth=3, patch_size=8, layer_scale=layer_scale)
    theirs = timm.models.VisionTransformer(
        img_size=(32, 48), patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=0, class_token=False, global_pool="avg", fc_norm=False,
        init_values=layer_scale,
    ).eval()  # fmt: skip
    names = {
        "projection": "attn.proj",
        "qkv": "attn.qkv",
        "expand": "mlp.fc1",
        "contract": "mlp.fc2",
        "scale1": "ls1.gamma",
        "scale2": "ls2.gamma",
    }
    state = {}
    for name, value in ours.state_dict().items():
        parts = name.replace("patch_embed", "patch_embed.proj").split(".")
        state[".".join(names.get(part, part) if parts[0] == "blocks" else part for part in parts)] = value
    state["pos_embed"] = sincos_positions((4, 6), 48)[None]
    theirs.load_state_dict(state)
    x = torch.randn(2, 3, 32, 48)
    features = ours(x)
    torch.testing.assert_close(features.tokens, theirs.forward_features(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.pooled, theirs(x), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_volume_of_one_slice_equals_the_plane():
    # A 3D ViT with patches one slice thick, on one slice, sees the same tokens; its positions split the channels by three axes, so give the 2D one those.
    flat, deep = tiny(spatial_dims=2, patch_size=4), tiny(spatial_dims=3, patch_size=(1, 4, 4))
    state = {name: value.unsqueeze(2) if name == "patch_embed.weight" else value for name, value in flat.state_dict().items()}
    deep.load_state_dict(state)
    x = torch.randn(1, 1, 12, 20)
    shift = (sincos_positions((1, 3, 5), 24) - sincos_positions((3, 5), 24)).T.reshape(1, 24, 3, 5)
    flat.patch_embed.register_forward_hook(lambda module, arguments, embedded: embedded + shift)
    torch.testing.assert_close(deep(x[:, :, None]).tokens, flat(x).tokens)
