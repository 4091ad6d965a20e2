"""Segmentation: each voxel gets one of several classes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from medfinetune import optimisation
from medfinetune.errors import BatchError
from medfinetune.inference import evaluating, flip_averaged, prepared
from medfinetune.losses import dice_ce_terms
from medfinetune.networks import SegmentationNetwork
from medfinetune.results import HasGeometry, SegmentationResult, measure
from medmodels import sliding_window
from medmodels.contracts import Artifact, Backbone, Batch, Progress, StepOutput
from medmodels.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationConfig:
    """Options of `SegmentationTask`.

    Attributes:
        dice_weight: weight of the soft Dice term.
        ce_weight: weight of the cross entropy.
        batch_dice: sum overlaps over the batch before the ratio; for structures that many crops lack.
        include_background: count the background in the Dice term.
        layer_decay: learning rate of each encoder layer relative to the next deeper one; below 1 for pretrained encoders.
        decoder_channels: see `medmodels.UNetDecoder`; None takes its default.
        image_skip: joins the image itself to the decoder; for a ViT, which keeps no fine map.
        overlap: share by which neighbouring windows overlap at prediction.
        window_batch: windows run at once at prediction.
        tta_flips: spatial axes (0 first) over whose flips prediction averages; costs 2^n runs.
    """

    dice_weight: float = 1.0
    ce_weight: float = 1.0
    batch_dice: bool = False
    include_background: bool = False
    layer_decay: float = 1.0
    decoder_channels: tuple[int, ...] | None = None
    image_skip: bool = False
    overlap: float = 0.5
    window_batch: int = 1
    tta_flips: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.dice_weight < 0 or self.ce_weight < 0 or self.dice_weight + self.ce_weight == 0:
            raise ValueError(f"dice_weight and ce_weight must be non-negative, not both 0, got {self.dice_weight} and {self.ce_weight}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], got {self.layer_decay}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must lie in [0, 1), got {self.overlap}")
        if self.window_batch < 1:
            raise ValueError(f"window_batch must be at least 1, got {self.window_batch}")
        if len(set(self.tta_flips)) != len(self.tta_flips) or any(a < 0 for a in self.tta_flips):
            raise ValueError(f"tta_flips must be different axes from 0, got {self.tta_flips}")


class SegmentationTask(nn.Module):
    """Any backbone with a U-Net decoder, soft Dice and cross entropy.

    Args:
        backbone: from `medmodels.create_model`, pretrained or not.
        classes: names, background first.
        preprocessing: what was done to the images of training; `patch_size` is the window of prediction.
        config: see `SegmentationConfig`.
        data_fingerprint: version of the dataset, for the card.

    Raises:
        ValueError: for classes or dimensions that do not fit.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        config: SegmentationConfig = SegmentationConfig(),
        data_fingerprint: str = "",
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        if len(self.classes) < 2 or self.classes[0] != "background" or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must be different names that begin with 'background', got {self.classes}")
        if backbone.spatial_dims != preprocessing.spatial_dims:
            raise ValueError(f"backbone is {backbone.spatial_dims}D, preprocessing {preprocessing.spatial_dims}D")
        if preprocessing.whole_image:
            raise ValueError("segmentation slides a window: preprocessing.whole_image must be False")
        if any(a >= preprocessing.spatial_dims for a in config.tta_flips):
            raise ValueError(f"tta_flips {config.tta_flips} name an axis that a {preprocessing.spatial_dims}D image lacks")
        self.preprocessing = preprocessing
        self.config = config
        self.data_fingerprint = data_fingerprint
        self.encoder_card = backbone.card
        self.network = SegmentationNetwork(backbone, len(self.classes), config.decoder_channels, config.image_skip)

    def forward(self, batch: Batch, progress: Progress) -> StepOutput:
        """One step.

        Args:
            batch: `image` (B, C, *S), normalised; `mask` (B, *S) index into `classes`, -1 where unknown.
            progress: not used; the losses have no schedule.

        Returns:
            The loss; `logs` dice_loss and cross_entropy; `preds` logits (B, K, *S) and, in evaluation mode, mask (B, *S).

        Raises:
            BatchError: for a batch without masks, or labels beyond the classes; names the samples.
        """
        target = self._target(batch)
        logits = self.network(batch["image"])
        config = self.config
        dice, cross_entropy = dice_ce_terms(logits, target, batch_dice=config.batch_dice, include_background=config.include_background)
        preds = {"logits": logits.detach()}
        if not self.training:
            preds["mask"] = logits.detach().argmax(1)
        return StepOutput(
            loss=config.dice_weight * dice + config.ce_weight * cross_entropy,
            logs={"dice_loss": dice.detach(), "cross_entropy": cross_entropy.detach()},
            preds=preds,
        )

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """See `medfinetune.optimisation.param_groups`."""
        return optimisation.param_groups(
            self.network, self.network.backbone, lr=lr, weight_decay=weight_decay, layer_decay=self.config.layer_decay
        )

    def after_step(self, progress: Progress) -> None:
        """Nothing follows an optimiser step: no teacher, no centre."""

    def artifact(self) -> Artifact:
        """The network, what it needs around it, and where it comes from."""
        pre = self.preprocessing
        card = replace(
            self.encoder_card,
            axes=pre.axes,
            spacing_mm=pre.spacing_mm,
            intensity=pre.to_dict()["intensity"],
            objective="segmentation",
            code_version=f"medfinetune {version('medfinetune')}",
            data_fingerprint=self.data_fingerprint,
        )
        return Artifact(
            kind="segmentation",
            module=self.network,
            card=card,
            preprocessing=pre,
            classes=self.classes,
            config={
                "task": asdict(self.config),
                "inference": {"overlap": self.config.overlap, "tta_flips": list(self.config.tta_flips)},
                "encoder": self.encoder_card.to_dict(),
            },
        )

    def predict(self, image: HasGeometry, *, probabilities: bool = False) -> SegmentationResult:
        """Segment one image by a sliding window.

        Args:
            image: `.array` ([C,] *S) in its unit, on the axes and spacing of `preprocessing`; intensity is applied here, with the statistics
                of this whole image. May be smaller than the window.
            probabilities: return them too, (K, *S) float32.

        Returns:
            The mask on the image's own grid, with its affine and spacing.

        Raises:
            BatchError: for dimensions or channels that do not fit.
        """
        backbone = self.network.backbone
        x = prepared(image, self.preprocessing, backbone.in_channels)
        device = next(self.network.parameters()).device
        with evaluating(self.network):
            blended = sliding_window(
                flip_averaged(self.network, self.config.tta_flips),
                x.to(device),
                patch_size=self.preprocessing.patch_size,
                overlap=self.config.overlap,
                batch_size=self.config.window_batch,
            )
            labels = blended.argmax(0).cpu().numpy()
            kept = blended.float().cpu().numpy() if probabilities else None
        mask = labels.astype(np.uint8) if len(self.classes) <= 256 else labels.astype(np.int16)
        spacing = tuple(float(s) for s in image.spacing)
        volumes, areas = measure(mask, self.classes, image.affine, spacing)
        return SegmentationResult(mask, self.classes, image.affine, spacing, volumes, areas, kept)

    def _target(self, batch: Batch) -> torch.Tensor:
        if "mask" not in batch:
            raise BatchError("the batch has no `mask`; segmentation needs shards whose samples carry one")
        target: torch.Tensor = batch["mask"]
        wrong = ((target >= len(self.classes)) | (target < -1)).flatten(1).any(1)
        if wrong.any():
            names = [str(key[2]) for key, bad in zip(batch["key"], wrong.tolist(), strict=True) if bad] if "key" in batch else ["(no key)"]
            raise BatchError(
                f"{', '.join(names)}: mask holds labels from {int(target.min())} to {int(target.max())}, "
                f"the task has classes 0 to {len(self.classes) - 1} ({', '.join(self.classes)}); fix the labels or the list of classes"
            )
        return target
