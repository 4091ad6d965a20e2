"""Platt scaling: from logits to probabilities that mean what they say."""

import math

import torch
from torch import Tensor

SMALLEST_SCALE = 0.05
"""Where the likelihood's scale is smaller or negative (the logits say nothing, or the contrary), probabilities come close to the base rate and keep the order."""

_STEPS = 100
_TOLERANCE = 1e-10


def fit_platt(logits: Tensor, labels: Tensor, *, strength: float = 1e-2) -> tuple[Tensor, Tensor]:
    """Fit p = sigmoid(scale * logit + bias) for each label by maximum likelihood.

    A weak Gaussian prior around the identity (scale 1, bias 0) keeps separable labels finite. A label known for fewer than one positive and one
    negative case stays at the identity: there is nothing to fit; `platt_notes` names such labels.

    Args:
        logits: (N, K) or (N,), of held-out cases, never of those the network was trained on.
        labels: same shape, 0 or 1, NaN where unknown.
        strength: precision of the prior; the penalty is strength / 2 * ((scale - 1)^2 + bias^2) against the summed log loss.

    Returns:
        scale (K,) and bias (K,), float64.

    Raises:
        ValueError: for shapes that do not fit, a strength that is not positive, or logits that are not finite.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999; solved by damped Newton steps.
    """
    logits, labels = _columns(logits, labels)
    if not strength > 0:
        raise ValueError(f"strength must be positive, got {strength}")
    fits = [_fit_one(logits[:, k], labels[:, k], strength) for k in range(logits.shape[1])]
    return torch.tensor([f[0] for f in fits], dtype=torch.float64), torch.tensor([f[1] for f in fits], dtype=torch.float64)


def platt_notes(logits: Tensor, labels: Tensor, names: tuple[str, ...]) -> tuple[str, ...]:
    """One line for each label whose calibration deserves doubt: without both classes, or whose logits rank the cases the wrong way round.

    Args:
        logits: (N, K), as for `fit_platt`.
        labels: (N, K), as for `fit_platt`.
        names: K names.
    """
    logits, labels = _columns(logits, labels)
    scale, _ = fit_platt(logits, labels)
    notes = []
    for k, name in enumerate(names):
        if _one_sided(labels[:, k]):
            notes.append(f"{name}: no case of one class among those known; left uncalibrated, add such cases")
        elif scale[k] <= SMALLEST_SCALE:
            notes.append(f"{name}: higher logits do not mean more positives on the held-out cases; the network has not learned this label")
    return tuple(notes)


def _columns(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Both as (N, K) float64 on the CPU, checked."""
    x, y = logits.detach().cpu().double(), labels.detach().cpu().double()
    if x.shape != y.shape or x.ndim not in (1, 2):
        raise ValueError(f"logits {tuple(x.shape)} and labels {tuple(y.shape)} must have one shape, (N, K)")
    if not torch.isfinite(x).all():
        raise ValueError("logits to calibrate must be finite")
    known = y[~torch.isnan(y)]
    if not ((known == 0) | (known == 1)).all():
        raise ValueError("labels to calibrate must be 0, 1 or NaN")
    return (x.unsqueeze(1), y.unsqueeze(1)) if x.ndim == 1 else (x, y)


def _one_sided(y: Tensor) -> bool:
    """Whether one of the two classes has no known case."""
    return not bool((y == 1).any() and (y == 0).any())


def _fit_one(x: Tensor, y: Tensor, strength: float) -> tuple[float, float]:
    """Scale and bias of one label."""
    if _one_sided(y):
        return 1.0, 0.0
    known = ~torch.isnan(y)
    x, y = x[known], y[known]
    one = torch.ones_like(x)
    scale, bias = _logistic(torch.stack([x, one], dim=1), y, torch.zeros_like(x), torch.tensor([1.0, 0.0], dtype=torch.float64), strength)
    if scale >= SMALLEST_SCALE:
        return scale, bias
    (bias,) = _logistic(one.unsqueeze(1), y, SMALLEST_SCALE * x, torch.zeros(1, dtype=torch.float64), strength)
    return SMALLEST_SCALE, bias


def _logistic(design: Tensor, target: Tensor, offset: Tensor, prior: Tensor, strength: float) -> list[float]:
    """Logistic regression of target (n,) on design (n, P) beside a fixed offset (n,): damped Newton on a strictly convex function."""
    theta = prior.clone()

    def objective(at: Tensor) -> float:
        z = design @ at + offset
        return float((torch.nn.functional.softplus(z) - target * z).sum() + strength / 2 * ((at - prior) ** 2).sum())

    value = objective(theta)
    for _ in range(_STEPS):
        p = torch.sigmoid(design @ theta + offset)
        gradient = design.T @ (p - target) + strength * (theta - prior)
        hessian = design.T @ (design * (p * (1 - p)).unsqueeze(1)) + strength * torch.eye(len(prior), dtype=torch.float64)
        step = torch.linalg.solve(hessian, gradient)
        size = 1.0
        # Halve until the value falls: a full Newton step overshoots far from the optimum.
        while size > 1e-8 and not (new := objective(theta - size * step)) < value:
            size /= 2
        if size <= 1e-8:
            break
        theta, gain, value = theta - size * step, value - new, new
        if gain < _TOLERANCE * (1 + math.fabs(value)):
            break
    return [float(v) for v in theta]
