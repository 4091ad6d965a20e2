"""What a classifier of films must beat: a logistic regression on 32x32 pixels, and knowing nothing but the view."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medio import Image, ShardDataset, resize

Floats = npt.NDArray[np.float64]

SIDE = 32
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def pixel_floor(train: ShardDataset, val: ShardDataset, held: ShardDataset) -> Floats:
    """Probabilities (N, K) of a logistic regression on 32x32 pixels a film.

    Trained on the films that the network trains on; its regularisation is chosen on the films that choose the network's weights.
    """
    pixels = {name: _pixels(data) for name, data in (("train", train), ("val", val), ("held", held))}
    train_labels, val_labels = _labels(train), _labels(val)
    return np.stack([_regress(pixels, train_labels[:, k], val_labels[:, k]) for k in range(train_labels.shape[1])], axis=1)


def view_floor(train: ShardDataset, held: ShardDataset) -> Floats | None:
    """Probabilities (N, K) from the view alone: how often the training films of that view show each finding. None where no view is known."""
    views, labels = _views(train), _labels(train)
    if not any(views):
        return None
    overall: Floats = np.nanmean(labels, axis=0)
    rates: dict[str, Floats] = {}
    for view in set(views):
        chosen = labels[np.array([v == view for v in views])]
        # One film of prior at the overall rate keeps a view of few films within (0, 1).
        rates[view] = (np.nansum(chosen, axis=0) + overall) / ((~np.isnan(chosen)).sum(axis=0) + 1)
    found = [rates.get(view, overall) for view in _views(held)]
    return np.stack(found)


def _regress(pixels: dict[str, Floats], train: Floats, val: Floats) -> Floats:
    known, val_known = ~np.isnan(train), ~np.isnan(val)
    if len(set(train[known])) < 2:
        return np.full(len(pixels["held"]), np.nanmean(train) if known.any() else 0.5)
    models = {
        c: make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(pixels["train"][known], train[known])
        for c in _STRENGTHS
    }

    def loss(c: float) -> float:
        p = np.clip(models[c].predict_proba(pixels["val"][val_known])[:, 1], 1e-6, 1 - 1e-6)
        y = val[val_known]
        return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()) if len(y) else c

    best: Floats = models[min(_STRENGTHS, key=loss)].predict_proba(pixels["held"])[:, 1]
    return best


def _pixels(data: ShardDataset) -> Floats:
    films = (data[i] for i in range(len(data)))
    small = [resize(Image(f["image"][0].astype(np.float64), None, tuple(float(s) for s in f["spacing"])), (SIDE, SIDE)) for f in films]
    return np.stack([film.array.ravel() for film in small])


def _labels(data: ShardDataset) -> Floats:
    return np.stack([data[i]["label"] for i in range(len(data))]).astype(np.float64)


def _views(data: ShardDataset) -> list[str]:
    return [str(dict(row["meta"] or ()).get("view", "")) for row in data.table.to_pylist()]
