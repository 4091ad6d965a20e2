"""Which devices the compiled loops serve. Ask through the module (`serving.loops(...)`), so that a test can send CPU tensors the other way."""

import torch


def loops(device: torch.device) -> bool:
    """Tell whether the loops in this package work on a device's memory; elsewhere the same is done with tensors."""
    return device.type == "cpu"
