"""Classification: an image has any number of several findings, some of them unknown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from medfinetune import optimisation
from medfinetune.calibration import fit_platt, platt_notes
from medfinetune.errors import BatchError
from medfinetune.inference import evaluating, prepared
from medfinetune.losses import masked_bce_loss
from medfinetune.networks import ClassificationNetwork
from medfinetune.results import ClassificationResult, HasGeometry
from medmodels.contracts import Artifact, Backbone, Batch, Progress, StepOutput
from medmodels.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationConfig:
    """Options of `ClassificationTask`.

    Attributes:
        positive_weight: factor of the positive term of each label, in the order of the labels; None is 1 for all.
        layer_decay: learning rate of each encoder layer relative to the next deeper one; below 1 for pretrained encoders.
    """

    positive_weight: tuple[float, ...] | None = None
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.positive_weight is not None and not all(w > 0 for w in self.positive_weight):
            raise ValueError(f"positive_weight must be positive, got {self.positive_weight}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], got {self.layer_decay}")


class ClassificationTask(nn.Module):
    """Any backbone with a linear head; one sigmoid a label.

    Args:
        backbone: from `medmodels.create_model`, pretrained or not.
        labels: names of the findings.
        preprocessing: what was done to the images of training; whole images of `patch_size`.
        config: see `ClassificationConfig`.
        data_fingerprint: version of the dataset, for the card.

    Raises:
        ValueError: for labels, weights or dimensions that do not fit.
    """

    platt_scale: Tensor
    platt_bias: Tensor
    calibrated: Tensor
    positive_weight: Tensor | None

    def __init__(
        self,
        backbone: Backbone,
        *,
        labels: Sequence[str],
        preprocessing: Preprocessing,
        config: ClassificationConfig = ClassificationConfig(),
        data_fingerprint: str = "",
    ) -> None:
        super().__init__()
        self.labels = tuple(labels)
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be different names, got {self.labels}")
        if backbone.spatial_dims != preprocessing.spatial_dims:
            raise ValueError(f"backbone is {backbone.spatial_dims}D, preprocessing {preprocessing.spatial_dims}D")
        if not preprocessing.whole_image:
            raise ValueError("classification runs on whole images: preprocessing.whole_image must be True")
        weight = config.positive_weight
        if weight is not None and len(weight) != len(self.labels):
            raise ValueError(f"positive_weight has {len(weight)} values for {len(self.labels)} labels")
        self.preprocessing = preprocessing
        self.config = config
        self.data_fingerprint = data_fingerprint
        self.encoder_card = backbone.card
        self.network = ClassificationNetwork(backbone, len(self.labels))
        self.register_buffer("positive_weight", None if weight is None else torch.tensor(weight), persistent=False)
        self.register_buffer("platt_scale", torch.ones(len(self.labels)))
        self.register_buffer("platt_bias", torch.zeros(len(self.labels)))
        self.register_buffer("calibrated", torch.tensor(False))

    def forward(self, batch: Batch, progress: Progress) -> StepOutput:
        """One step.

        Args:
            batch: `image` (B, C, *S), normalised; `label` (B, K) 0 or 1, NaN where unknown.
            progress: not used; the loss has no schedule.

        Returns:
            The loss; `logs` the share of labels that are known; `preds` logits (B, K), before calibration.

        Raises:
            BatchError: for a batch without labels, or with another number of them.
        """
        if "label" not in batch:
            raise BatchError("the batch has no `label`; classification needs shards whose samples carry labels")
        label: Tensor = batch["label"]
        if label.shape[1:] != (len(self.labels),):
            raise BatchError(f"labels of shape {tuple(label.shape)}: the task has {len(self.labels)} ({', '.join(self.labels)})")
        logits = self.network(batch["image"])
        loss = masked_bce_loss(logits, label, positive_weight=self.positive_weight)
        return StepOutput(loss=loss, logs={"known": (~torch.isnan(label)).float().mean()}, preds={"logits": logits.detach()})

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """See `medfinetune.optimisation.param_groups`."""
        return optimisation.param_groups(
            self.network, self.network.backbone, lr=lr, weight_decay=weight_decay, layer_decay=self.config.layer_decay
        )

    def after_step(self, progress: Progress) -> None:
        """Nothing follows an optimiser step: no teacher, no centre."""

    def calibrate(self, logits: Tensor, labels: Tensor) -> tuple[str, ...]:
        """Fit the calibration of each label on held-out cases, and keep it.

        Args:
            logits: (N, K), before calibration.
            labels: (N, K) 0 or 1, NaN where unknown.

        Returns:
            A line for each label whose calibration deserves doubt; see `platt_notes`.
        """
        scale, bias = fit_platt(logits, labels)
        self.platt_scale.copy_(scale)
        self.platt_bias.copy_(bias)
        self.calibrated.fill_(True)
        return platt_notes(logits, labels, self.labels)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities (B, K) of logits (B, K); plain sigmoid before `calibrate`."""
        return torch.sigmoid(logits.float() * self.platt_scale + self.platt_bias)

    def artifact(self) -> Artifact:
        """The network, what it needs around it, and where it comes from."""
        pre = self.preprocessing
        card = replace(
            self.encoder_card,
            axes=pre.axes,
            spacing_mm=pre.spacing_mm,
            intensity=pre.to_dict()["intensity"],
            objective="classification",
            code_version=f"medfinetune {version('medfinetune')}",
            data_fingerprint=self.data_fingerprint,
        )
        calibration = {"scale": tuple(self.platt_scale.tolist()), "bias": tuple(self.platt_bias.tolist())} if self.calibrated else {}
        return Artifact(
            kind="classification",
            module=self.network,
            card=card,
            preprocessing=pre,
            classes=self.labels,
            calibration=calibration,
            config={"task": asdict(self.config), "encoder": self.encoder_card.to_dict()},
        )

    def predict(self, image: HasGeometry) -> ClassificationResult:
        """Classify one image.

        Args:
            image: `.array` ([C,] *S) in its unit, already resized to `preprocessing.patch_size`; intensity is applied here.

        Returns:
            Probabilities by label, and the image's geometry.

        Raises:
            BatchError: for dimensions, channels or a size that do not fit.
        """
        x = prepared(image, self.preprocessing, self.network.backbone.in_channels)
        with evaluating(self.network):
            logits = self.network(x.unsqueeze(0).to(self.platt_scale.device))
            probabilities = self.probabilities(logits)[0].tolist()
        return ClassificationResult(
            probabilities=dict(zip(self.labels, probabilities, strict=True)),
            logits=dict(zip(self.labels, logits[0].float().tolist(), strict=True)),
            labels=self.labels,
            calibrated=bool(self.calibrated),
            affine=image.affine,
            spacing=tuple(float(s) for s in image.spacing),
        )
