"""Heads over one vector an image."""

from torch import Tensor, nn

from medmodels.contracts import Features


class LinearHead(nn.Module):
    """One linear layer from pooled features to logits.

    Args:
        channels: C of `Features.pooled`, the last of `Backbone.channels`.
        classes: K.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Features | Tensor) -> Tensor:
        """Map a backbone's features, or its pooled (B, C) alone, to logits (B, K)."""
        pooled = features.pooled if isinstance(features, Features) else features
        logits: Tensor = self.linear(pooled)
        return logits
