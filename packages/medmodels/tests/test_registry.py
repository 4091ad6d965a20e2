from importlib.metadata import EntryPoint

import pytest
import torch

from medmodels import LinearHead, ModelError, ResidualEncoder, UnknownModelError, create_model, list_models, register_model, registry


@pytest.fixture
def builders(monkeypatch):
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))


def test_a_pattern_selects_names():
    assert list_models("vit_*") == ["vit_base", "vit_small", "vit_tiny"]
    assert list_models("resunet_*") == ["resunet_base", "resunet_small", "resunet_tiny"]
    assert set(list_models("*_tiny")) == {"vit_tiny", "resunet_tiny"}
    assert list_models("convnext*") == []


def test_an_unknown_name_or_argument_gets_a_suggestion():
    with pytest.raises(UnknownModelError, match=r"no model 'vit_tny', did you mean vit_tiny"):
        create_model("vit_tny", spatial_dims=2)
    with pytest.raises(ModelError, match=r"vit_tiny takes no argument 'pach_size', did you mean patch_size"):
        create_model("vit_tiny", spatial_dims=2, pach_size=8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 4}, "spatial_dims must be 2 or 3, got 4"),
        ({"spatial_dims": 2, "in_channels": 0}, "in_channels must be at least 1"),
        ({"spatial_dims": 2, "patch_size": (4, 4, 4)}, "patch_size needs one positive integer or 2 of them"),
    ],
)
def test_values_out_of_range_are_named(arguments, message):
    with pytest.raises(ModelError, match=message):
        create_model("vit_tiny", **arguments)


def test_a_registered_model_is_created_by_its_name_and_carries_its_arguments(builders):
    @register_model
    def two_stages(*, spatial_dims, in_channels=1, width=4):
        return ResidualEncoder(spatial_dims=spatial_dims, in_channels=in_channels, channels=(width, width), blocks=(1, 1))

    model = create_model("two_stages", spatial_dims=2, width=6)
    assert model.channels == (6, 6)
    assert model.card.kwargs == {"spatial_dims": 2, "in_channels": 1, "width": 6}
    assert "two_stages" in list_models()


def test_a_name_that_is_taken_raises_and_keeps_the_first(builders):
    def vit_tiny(*, spatial_dims):
        raise AssertionError

    first = registry._BUILDERS["vit_tiny"]
    with pytest.raises(UnknownModelError, match=r"'vit_tiny' is registered already by medmodels.vit"):
        register_model(vit_tiny)
    assert registry._BUILDERS["vit_tiny"] is first
    register_model(first)  # the same builder again, as on a second import, is no clash


def test_models_of_installed_distributions_are_found_by_entry_point(builders, monkeypatch):
    entry = EntryPoint(name="their_unet", value="medmodels.resunet:resunet_tiny", group="medmodels.models")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == "medmodels.models" else [])
    assert "their_unet" in list_models("their_*")
    model = create_model("their_unet", spatial_dims=2)
    assert model.card.arch == "their_unet"


def test_an_installed_model_with_a_taken_name_does_not_shadow_ours(builders, monkeypatch):
    entry = EntryPoint(name="vit_tiny", value="medmodels.resunet:resunet_tiny", group="medmodels.models")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    with pytest.raises(UnknownModelError, match="registered already"):
        create_model("vit_tiny", spatial_dims=2)
    assert create_model("vit_small", spatial_dims=2).card.arch == "vit_small"


def test_an_installed_model_that_cannot_be_imported_is_named_when_asked_for(builders, monkeypatch):
    entry = EntryPoint(name="broken", value="medmodels_no_such_module:build", group="medmodels.models")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert "broken" in list_models()
    with pytest.raises(UnknownModelError, match=r"'broken' is offered by medmodels_no_such_module:build, which cannot be loaded"):
        create_model("broken", spatial_dims=2)


def test_a_linear_head_maps_pooled_features_to_logits():
    model = create_model("resunet_tiny", spatial_dims=2).eval()
    head = LinearHead(model.channels[-1], 3)
    features = model(torch.randn(2, 1, 32, 32))
    expected = features.pooled @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(features), expected)
    torch.testing.assert_close(head(features.pooled), expected)
