import pytest
import torch

from medfinetune import SegmentationNetwork, param_groups
from medmodels import create_model


def network(name="resunet_tiny", **kwargs):
    backbone = create_model(name, spatial_dims=2, **kwargs)
    return SegmentationNetwork(backbone, 2)


@pytest.mark.parametrize(("name", "kwargs"), [("resunet_tiny", {}), ("vit_tiny", {"depth": 3, "patch_size": 8})])
def test_every_trainable_parameter_is_in_one_group(name, kwargs):
    net = network(name, **kwargs)
    frozen = next(net.backbone.parameters()).requires_grad_(False)
    seen = [p for group in param_groups(net, net.backbone, lr=1.0, weight_decay=0.1) for p in group["params"]]
    assert len(seen) == len({id(p) for p in seen}) == sum(p.requires_grad for p in net.parameters())
    assert all(p is not frozen for p in seen)


def test_rates_fall_by_the_decay_for_each_layer_away_from_the_head():
    net = network("vit_tiny", depth=3, patch_size=8)
    rate = {
        id(p): group["lr"] for group in param_groups(net, net.backbone, lr=1.0, weight_decay=0.1, layer_decay=0.5) for p in group["params"]
    }
    # depth 3: stem 0, blocks 1 to 3, last norm 4, head 5
    assert rate[id(net.backbone.patch_embed.weight)] == 0.5**5
    assert rate[id(next(net.backbone.blocks[0].parameters()))] == 0.5**4
    assert rate[id(next(net.backbone.blocks[2].parameters()))] == 0.5**2
    assert rate[id(net.backbone.norm.weight)] == 0.5
    assert {rate[id(p)] for p in net.decoder.parameters()} == {1.0}


def test_only_matrices_and_kernels_decay():
    net = network()
    groups = param_groups(net, net.backbone, lr=1.0, weight_decay=0.1)
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, p in net.named_parameters():
        assert decay[id(p)] == (0.1 if p.ndim > 1 else 0.0), name
    assert {0.0, 0.1} == {group["weight_decay"] for group in groups}


def test_a_torch_optimiser_takes_the_groups():
    net = network()
    before = [p.detach().clone() for p in net.parameters()]
    optimiser = torch.optim.AdamW(param_groups(net, net.backbone, lr=1e-2, weight_decay=0.1, layer_decay=0.9))
    net(torch.randn(1, 1, 16, 16)).square().mean().backward()
    optimiser.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
