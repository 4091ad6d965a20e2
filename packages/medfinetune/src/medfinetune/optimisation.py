"""Parameter groups: layer-wise learning rates, and no weight decay where it does harm."""

from typing import Any

from torch import nn

from medmodels.contracts import Backbone


def param_groups(
    network: nn.Module, backbone: Backbone, *, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Group the trainable parameters of a network that holds `backbone` as its attribute of that name.

    A layer's rate is lr * layer_decay^(distance from the head): the head learns at `lr`, the stem slowest, so that a pretrained encoder
    keeps what it knows. Vectors (norms, biases, tokens) and positions take no weight decay.

    Args:
        network: the whole network.
        backbone: its encoder, which knows the depth of its parameters.
        lr: rate of the head.
        weight_decay: for matrices and kernels.
        layer_decay: in (0, 1]; 1 gives every layer the same rate.

    Returns:
        Groups for a torch optimiser, from the stem to the head: `params`, `lr`, `weight_decay`, `name`.

    Source: Clark et al., "ELECTRA", ICLR 2020 (layer-wise decay).
    """
    prefix = "backbone."
    trainable = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    depth = {name: backbone.layer_index(name.removeprefix(prefix)) for name, _ in trainable if name.startswith(prefix)}
    head = max(depth.values(), default=-1) + 1
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in trainable:
        layer = depth.get(name, head)
        decayed = parameter.squeeze().ndim > 1 and not name.endswith("bias") and "pos" not in name.rsplit(".", 1)[-1]
        group = groups.setdefault(
            (layer, decayed),
            {
                "params": [],
                "lr": lr * layer_decay ** (head - layer),
                "weight_decay": weight_decay if decayed else 0.0,
                "name": f"layer{layer}_{'decay' if decayed else 'no_decay'}",
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]
