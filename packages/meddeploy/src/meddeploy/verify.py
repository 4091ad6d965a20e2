"""Does the exported graph say what the trained network says?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from meddeploy.bundle import Bundle
from meddeploy.runtime import OnnxRuntime
from medmodels import Artifact, Preprocessing, keyed_generator

_BATCHES = (1, 2)


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """How far a bundle is from the network it was made of.

    Attributes:
        max_difference: largest |graph - network| / max(1, |network|) over all logits of all cases; infinite where one is not finite, or the two
            take different images.
        cases: comparisons made; none where the two take different images.
        passed: whether the difference is within the tolerance and nothing mismatches.
        tolerance: what was asked for.
        worst: the case with the largest difference.
        mismatches: what else the bundle says differently from the artifact.
    """

    max_difference: float
    cases: int
    passed: bool
    tolerance: float
    worst: str
    mismatches: tuple[str, ...] = ()


def verify(
    bundle: Bundle, artifact: Artifact, *, tolerance: float = 1e-4, cases: int = 3, seed: int = 0, threads: int | None = None
) -> ParityReport:
    """Compare a bundle with the artifact that it was exported from.

    Inputs are drawn from keyed generators: stored values as scanners give them put through the intensity of the bundle, smooth structures, and plain
    noise, in batches of one and of two.

    Args:
        bundle: the exported one.
        artifact: the trained one; its module is not changed.
        tolerance: largest difference allowed, relative to a logit's size beyond 1.
        cases: inputs for each batch size; kinds take turns.
        seed: of the inputs.
        threads: CPU threads of the graph; None takes all cores.

    Returns:
        The comparison; `passed` is the verdict. Preprocessing, classes and calibration must be equal, too.

    Raises:
        ValueError: for less than one case or a tolerance that is not positive.
    """
    if cases < 1 or not tolerance > 0:
        raise ValueError(f"verify needs at least one case and a positive tolerance, got {cases} and {tolerance}")
    mismatches = tuple(
        f"{name} differ: {ours} in the bundle, {theirs} in the artifact"
        for name, ours, theirs in (
            ("kinds", bundle.kind, artifact.kind),
            ("channels", bundle.in_channels, int(artifact.card.kwargs.get("in_channels", 1))),
            ("classes", bundle.classes, artifact.classes),
            ("preprocessings", bundle.preprocessing, artifact.preprocessing),
            ("calibrations", dict(bundle.calibration), {k: tuple(v) for k, v in artifact.calibration.items()}),
        )
        if ours != theirs
    )
    comparable = (bundle.kind, bundle.preprocessing.spatial_dims, bundle.in_channels) == (
        artifact.kind,
        artifact.preprocessing.spatial_dims,
        int(artifact.card.kwargs.get("in_channels", 1)),
    )
    if not comparable:
        return ParityReport(
            max_difference=math.inf, cases=0, passed=False, tolerance=tolerance, worst="not compared", mismatches=mismatches
        )
    graph, module = OnnxRuntime(bundle, threads=threads), artifact.module
    device = next(module.parameters()).device
    was = module.training
    module.eval()
    differences: dict[str, float] = {}
    try:
        for number in range(cases):
            kind = ("stored", "smooth", "noise")[number % 3]
            for size in _BATCHES:
                x = torch.stack([_input(kind, bundle, (seed, number, f"{kind} {i} of {size}", 0)) for i in range(size)])
                with torch.inference_mode():
                    expected = module(x.to(device)).float().cpu()
                actual = graph(x)
                gap = (actual - expected).abs() / expected.abs().clamp(min=1) if actual.shape == expected.shape else torch.tensor(math.inf)
                differences[f"{kind}, batch of {size}, case {number}"] = float(gap.max()) if gap.isfinite().all() else math.inf
    finally:
        module.train(was)
    worst = max(differences, key=lambda name: differences[name])
    largest = differences[worst]
    return ParityReport(
        max_difference=largest,
        cases=len(differences),
        passed=largest <= tolerance and not mismatches,
        tolerance=tolerance,
        worst=worst,
        mismatches=mismatches,
    )


def _input(kind: str, bundle: Bundle, key: tuple[int, int, str, int]) -> Tensor:
    """One window (C, *patch_size) float32, as the graph sees it."""
    generator = keyed_generator(key, "parity")
    preprocessing = bundle.preprocessing
    shape = (bundle.in_channels, *preprocessing.patch_size)
    if kind == "noise":
        return torch.randn(shape, generator=generator)
    if kind == "stored":
        return preprocessing.intensity.apply(_stored(preprocessing, shape, generator))
    coarse = torch.randn((1, shape[0], *(max(n // 8, 2) for n in shape[1:])), generator=generator)
    mode = "trilinear" if preprocessing.spatial_dims == 3 else "bilinear"
    return interpolate(coarse, size=shape[1:], mode=mode, align_corners=False)[0]


def _stored(preprocessing: Preprocessing, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Values in a scanner's unit: beyond both ends of the window, or skewed and positive as in MR and films."""
    uniform = torch.rand(shape, generator=generator)
    low, high = preprocessing.intensity.low, preprocessing.intensity.high
    if preprocessing.intensity.kind == "window" and low is not None and high is not None:
        return low - (high - low) / 2 + 2 * (high - low) * uniform
    return -200 * torch.log(uniform.clamp(min=1e-6))
