"""A backbone with a head: what a task trains, saves and exports. The input is an image that has been preprocessed, the output logits."""

from collections.abc import Sequence

from torch import Tensor, nn

from medmodels import LinearHead, UNetDecoder
from medmodels.contracts import Backbone


class SegmentationNetwork(nn.Module):
    """Backbone and U-Net decoder.

    Args:
        backbone: any encoder, 2D or 3D.
        classes: number of classes, background included.
        decoder_channels: see `UNetDecoder`; None takes its default.
        image_skip: see `UNetDecoder`.
    """

    def __init__(self, backbone: Backbone, classes: int, decoder_channels: Sequence[int] | None = None, image_skip: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = UNetDecoder(backbone, classes, channels=decoder_channels, image_skip=image_skip)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, *S) of an image (B, C, *S)."""
        logits: Tensor = self.decoder(self.backbone(image), tuple(image.shape[2:]), image)
        return logits


class ClassificationNetwork(nn.Module):
    """Backbone and a linear head on its pooled features.

    Args:
        backbone: any encoder, 2D or 3D.
        labels: number of labels.
    """

    def __init__(self, backbone: Backbone, labels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = LinearHead(backbone.channels[-1], labels)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of an image (B, C, *S)."""
        logits: Tensor = self.head(self.backbone(image))
        return logits
