"""From the encoder's tokens to the decoder's embeddings."""

from torch import Tensor, nn


class MLPConnector(nn.Module):
    """Normalise, then two linear layers with a GELU between: each image token on its own.

    Args:
        in_channels: channels of the encoder's tokens.
        out_channels: hidden size of the decoder.

    Source: Liu et al., "Improved baselines with visual instruction tuning", CVPR 2024 (the two-layer MLP; the norm in front is for maps of convolutional nets,
    whose scale is free).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels)
        self.expand = nn.Linear(in_channels, out_channels)
        self.activation = nn.GELU()
        self.project = nn.Linear(out_channels, out_channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N, C) to (B, N, hidden)."""
        result: Tensor = self.project(self.activation(self.expand(self.norm(tokens))))
        return result
