"""A bundle at work: image in, answer on the same grid out."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddeploy.bundle import Bundle
from meddeploy.errors import BackendError, InputError
from meddeploy.prediction import Prediction, measure
from meddeploy.preparation import labels_like, placed, prepare
from meddeploy.runtime import CPU, OnnxRuntime
from medio import Image
from medmodels import sliding_window

BACKENDS = ("onnxruntime",)


class Predictor:
    """Runs a bundle on images.

    Args:
        bundle: from `export` or `Bundle.load`.
        backend: `onnxruntime`.
        threads: CPU threads; None takes all cores.
        providers: of onnxruntime; the first must be the one that runs.

    Raises:
        BackendError: for a backend that is unknown, not installed, or on another device than asked for.
    """

    def __init__(
        self, bundle: Bundle, backend: str = "onnxruntime", threads: int | None = None, *, providers: Sequence[str] = (CPU,)
    ) -> None:
        if backend not in BACKENDS:
            raise BackendError(bundle.folder, f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
        self.bundle = bundle
        self.backend = backend
        self._network = OnnxRuntime(bundle, threads=threads, providers=providers)
        self.provider = self._network.provider

    def predict(self, image: Image) -> Prediction:
        """Answer one image.

        Axes, spacing and size are brought to those of training (see `prepare`), the intensity is normalised with the statistics of the whole prepared
        image; a segmentation slides a window, averages probabilities over windows and flips, and returns to the input's grid (see `labels_like`);
        a classification applies the bundle's calibration.

        Args:
            image: as `medio.read` gives it.

        Returns:
            The answer, with the image's own affine and spacing.

        Raises:
            InputError: for an image that the bundle cannot serve.
        """
        bundle, preprocessing = self.bundle, self.bundle.preprocessing
        source = placed(image)
        ready = prepare(source, preprocessing, bundle.in_channels)
        if bundle.kind == "classification":
            return self._classification(image, self._normalised(ready))
        mask = labels_like(self.probabilities(ready), ready, source)
        volumes, areas = measure(mask, bundle.classes, image)
        return Prediction(
            kind=bundle.kind,
            classes=bundle.classes,
            affine=image.affine,
            spacing=image.spacing,
            mask=mask,
            volumes_ml=volumes,
            areas_mm2=areas,
            model_sha256=bundle.sha256,
        )

    def probabilities(self, prepared: Image) -> npt.NDArray[np.float32]:
        """Class probabilities of a segmentation on the grid of training.

        Args:
            prepared: from `prepare`.

        Returns:
            (K, *S) float32, summing to 1 over K.

        Raises:
            InputError: for a bundle that does not segment.
        """
        bundle = self.bundle
        if bundle.kind != "segmentation":
            raise InputError(bundle.folder, f"answers a {bundle.kind}, which has no map of probabilities; use predict")
        found = sliding_window(
            _flip_averaged(self._network, bundle.tta_flips),
            self._normalised(prepared),
            patch_size=bundle.preprocessing.patch_size,
            overlap=bundle.overlap,
        )
        return np.asarray(found.numpy(), np.float32)

    def _normalised(self, prepared: Image) -> Tensor:
        """The network's input (C, *S) float32."""
        preprocessing = self.bundle.preprocessing
        values = torch.from_numpy(prepared.array.astype("float32"))
        return preprocessing.intensity.apply(values if values.ndim > preprocessing.spatial_dims else values.unsqueeze(0))

    def _classification(self, image: Image, x: Tensor) -> Prediction:
        bundle = self.bundle
        logits = self._network(x.unsqueeze(0))[0].float()
        if bundle.calibration:
            logits = logits * torch.tensor(bundle.calibration["scale"]) + torch.tensor(bundle.calibration["bias"])
        return Prediction(
            kind=bundle.kind,
            classes=bundle.classes,
            affine=image.affine,
            spacing=image.spacing,
            probabilities=dict(zip(bundle.classes, torch.sigmoid(logits).tolist(), strict=True)),
            calibrated=bool(bundle.calibration),
            model_sha256=bundle.sha256,
        )


def _flip_averaged(network: Callable[[Tensor], Tensor], axes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Softmax of a network (B, C, *S) to (B, K, *S), averaged over all combinations of flips along spatial `axes`; the same as in training's `predict`."""
    flips = [tuple(a + 2 for a in chosen) for n in range(len(axes) + 1) for chosen in combinations(axes, n)]

    def probabilities(x: Tensor) -> Tensor:
        total = torch.zeros(())
        for dims in flips:
            total = total + network(x.flip(dims)).softmax(1).flip(dims)
        return total / len(flips)

    return probabilities
