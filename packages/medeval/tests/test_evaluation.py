import json
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval import EvalError, LengthError, ShapeError, ValueRangeError, auroc, dice, ece, evaluate, hd95, nsd

CLASSES = ("background", "liver", "lesion")
SHAPE = (6, 9, 8)


def masks(n: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Boxes of liver with a lesion inside, and predictions off by a voxel or so."""
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(n):
        pair = []
        for _ in range(2):
            volume = np.zeros(SHAPE, dtype=np.uint8)
            z, y, x = rng.integers(0, 2, 3)
            volume[z : z + 4, y : y + 6, x : x + 6] = 1
            volume[z + 1 : z + 3, y + 2 : y + 4, x + 1 : x + 4] = 2
            pair.append(volume)
        predictions.append(pair[0])
        references.append(pair[1])
    return predictions, references


def segment(predictions, references, **kwargs):
    n = len(references)
    options = {"classes": CLASSES, "spacing": [(3.0, 1.0, 1.0)] * n, "patients": [f"p{i}" for i in range(n)], "samples": 200} | kwargs
    return evaluate("segmentation", predictions, references, **options)


def films(n: int = 120, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 2)) < (0.4, 0.2)).astype(float)
    probabilities = 1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(size=labels.shape))))
    return probabilities, labels


def classify(probabilities, labels, **kwargs):
    n = len(labels)
    options = {"classes": ("effusion", "mass"), "patients": [f"p{i // 2}" for i in range(n)], "samples": 200} | kwargs
    return evaluate("classification", probabilities, labels, **options)


def test_means_are_those_of_the_single_metrics_over_cases_then_classes():
    predictions, references = masks(5)
    found = segment(predictions, references, tolerance_mm=1.0)
    spacing = (3.0, 1.0, 1.0)
    for name, label in (("liver", 1), ("lesion", 2)):
        pairs = [(p == label, r == label) for p, r in zip(predictions, references, strict=True)]
        assert found.estimates[f"dice/{name}"].value == pytest.approx(np.mean([dice(*pair) for pair in pairs]))
        assert found.estimates[f"nsd/{name}"].value == pytest.approx(
            np.mean([nsd(*pair, spacing=spacing, tolerance_mm=1.0) for pair in pairs])
        )
        assert found.estimates[f"hd95_mm/{name}"].value == pytest.approx(np.mean([hd95(*pair, spacing=spacing) for pair in pairs]))
    assert found.estimates["dice"].value == pytest.approx(np.mean([found.estimates[f"dice/{c}"].value for c in ("liver", "lesion")]))
    assert found.classes == ("liver", "lesion")


def test_empty_masks_follow_the_policy_and_are_counted():
    predictions, references = masks(4)
    references[0][references[0] == 2] = 1
    predictions[0][predictions[0] == 2] = 1  # both empty: leaves the mean of lesion
    predictions[1][predictions[1] == 2] = 1  # missed
    references[2][references[2] == 2] = 1  # hallucinated
    found = segment(predictions, references)
    lesion = [dice(predictions[3] == 2, references[3] == 2), 0.0, 0.0]
    assert found.estimates["dice/lesion"].value == pytest.approx(np.mean(lesion))
    assert found.estimates["dice/lesion"].n == 3
    diagonal = np.sqrt((6 * 3) ** 2 + 9**2 + 8**2)
    rest = hd95(predictions[3] == 2, references[3] == 2, spacing=(3, 1, 1))
    assert found.estimates["hd95_mm/lesion"].value == pytest.approx((2 * diagonal + rest) / 3)
    assert {k: v for k, v in found.empties.items() if v} == {
        "both_empty": 1, "both_empty/lesion": 1, "missed": 1, "missed/lesion": 1, "hallucinated": 1, "hallucinated/lesion": 1,
    }  # fmt: skip
    assert found.cases[0]["dice/lesion"] is None
    assert found.cases[1]["missed"] == ["lesion"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3))
def test_missing_a_lesion_never_betters_any_figure(seed, case):
    predictions, references = masks(4, seed)
    before = segment(predictions, references, samples=10).estimates
    predictions[case][predictions[case] == 2] = 0
    after = segment(predictions, references, samples=10).estimates
    for name in ("dice", "dice/lesion", "nsd", "nsd/lesion"):
        assert after[name].value < before[name].value
        assert after[name].n == before[name].n
    for name in ("hd95_mm", "hd95_mm/lesion"):
        assert after[name].value > before[name].value


def test_a_structure_found_nowhere_is_absent_with_its_reason_and_not_nan():
    predictions, references = masks(3)
    for volume in (*predictions, *references):
        volume[volume == 2] = 1
    found = segment(predictions, references)
    assert "dice/lesion" not in found.estimates
    assert found.estimates["dice"].value == found.estimates["dice/liver"].value
    assert {a.metric for a in found.absent} == {"dice/lesion", "nsd/lesion", "hd95_mm/lesion"}
    assert "NaN" not in json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_figures_depend_on_the_seed_but_not_on_the_order_of_cases(task):
    n = 30
    one, two = masks(n) if task == "segmentation" else films(n)
    ids, patients = [f"case{i}" for i in range(n)], [f"p{i % 11}" for i in range(n)]
    order = np.random.default_rng(9).permutation(n)

    def run(index, seed=0):
        extra = {"spacing": [(3, 1, 1)] * n, "classes": CLASSES} if task == "segmentation" else {"classes": ("effusion", "mass")}
        return evaluate(
            task,
            [one[i] for i in index],
            [two[i] for i in index],
            patients=[patients[i] for i in index],
            sample_ids=[ids[i] for i in index],
            groups={"site": ["AB"[i % 2] for i in index]},
            samples=100,
            seed=seed,
            **extra,
        )

    first, shuffled = run(range(n)), run(order)
    assert first.estimates == shuffled.estimates
    assert first.slices == shuffled.slices
    assert first.to_dict() == run(range(n)).to_dict()
    assert first.estimates != run(range(n), seed=1).estimates


def test_classification_figures_are_those_of_the_single_metrics_where_the_label_is_known():
    probabilities, labels = films()
    labels[:10, 0] = np.nan
    found = classify(probabilities, labels)
    assert found.estimates["auroc/effusion"].value == pytest.approx(auroc(probabilities[10:, 0], labels[10:, 0]))
    assert found.estimates["ece/effusion"].value == pytest.approx(ece(probabilities[10:, 0], labels[10:, 0]))
    assert (found.estimates["auroc/effusion"].n, found.estimates["auroc/mass"].n) == (110, 120)
    assert found.estimates["auroc"].value == pytest.approx(
        (found.estimates["auroc/effusion"].value + found.estimates["auroc/mass"].value) / 2
    )
    assert all(e.low <= e.value <= e.high for e in found.estimates.values())


def test_films_of_the_same_patients_widen_the_interval_of_the_auroc():
    probabilities, labels = films(60)
    tenfold = np.repeat(probabilities, 10, axis=0), np.repeat(labels, 10, axis=0)
    patients = [f"p{i}" for i in range(60) for _ in range(10)]
    clustered = classify(*tenfold, patients=patients).estimates["auroc"]
    naive = classify(*tenfold, patients=[str(i) for i in range(600)]).estimates["auroc"]
    assert clustered.value == naive.value
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)  # sqrt(10) = 3.2 in theory
    assert (clustered.n, clustered.patients) == (600, 60)


def test_a_slice_with_one_class_or_few_patients_is_absent_with_the_reason_counted():
    probabilities, labels = films(60)
    labels[:20, 1] = 0
    groups = {"view": ["PA"] * 20 + ["AP"] * 36 + ["", None, "lateral", "lateral"]}
    found = classify(probabilities, labels, groups=groups)
    assert set(found.slices["view"]) == {"PA", "AP"}
    assert "auroc/mass" not in found.slices["view"]["PA"]
    assert found.slices["view"]["PA"]["auroc"].value == found.slices["view"]["PA"]["auroc/effusion"].value
    assert found.slices["view"]["AP"]["auroc/mass"].value == pytest.approx(auroc(probabilities[20:56, 1], labels[20:56, 1]))
    reasons = {(a.value, a.metric): a.reason for a in found.absent}
    assert reasons["PA", "auroc/mass"] == "one class only: every known label is 0"
    assert reasons["lateral", "*"] == "1 patients, fewer than 5"
    assert reasons["unknown", "*"] == "1 patients, fewer than 5"


def test_a_finding_of_a_single_patient_gets_no_auroc():
    probabilities, labels = films(40)
    labels[:, 1] = 0
    labels[:2, 1] = 1  # two films of patient p0
    found = classify(probabilities, labels)
    assert "auroc/mass" not in found.estimates
    assert [a.reason for a in found.absent if a.metric == "auroc/mass"] == ["too few patients to rank: 1 with and 19 without the finding"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"predictions": [np.zeros((2, 2)), np.zeros((2, 3))]}, ShapeError, r"^b: prediction \(2, 3\) and reference \(2, 2\).*resample"),
        ({"predictions": [np.zeros((2, 2)), np.full((2, 2), 3)]}, ValueRangeError, "^b: prediction holds class id 3.*0 to 2"),
        ({"predictions": [np.zeros((2, 2)), np.full((2, 2), 0.5)]}, ValueRangeError, "^b: .*argmax"),
        ({"predictions": [np.zeros((2, 2))]}, LengthError, "^predictions: end after 1 of 2"),
        ({"references": [np.zeros((2, 2))] * 3}, LengthError, "^references: hold more than the 2 cases"),
        ({"spacing": [(1, 1)]}, LengthError, "^spacing: has 1 entries for 2 cases"),
        ({"spacing": [(1, 1), (1, 1, 1)]}, ShapeError, "^b: spacing"),
        ({"spacing": None}, ValueRangeError, "^spacing: .*in mm"),
        ({"sample_ids": ["a", "a"]}, LengthError, "^a: appears twice"),
        ({"groups": {"site": ["x"]}}, LengthError, "^site: has 1 values"),
        ({"patients": []}, LengthError, "^patients: no case"),
        ({"classes": ["background"]}, ValueRangeError, "^classes: .*no foreground"),
    ],
)
def test_bad_segmentations_name_the_sample_and_the_mend(change, error, message):
    arguments = {
        "predictions": [np.zeros((2, 2))] * 2, "references": [np.zeros((2, 2))] * 2, "classes": CLASSES, "spacing": [(1, 1)] * 2,
        "patients": ["p", "q"], "sample_ids": ["a", "b"],
    } | change  # fmt: skip
    with pytest.raises(error, match=message) as caught:
        evaluate("segmentation", **arguments)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_bad_probabilities_and_labels_name_the_sample_and_the_mend():
    probabilities, labels = films(4)
    ids = list("abcd")
    for value in (1.2, np.nan):
        broken = probabilities.copy()
        broken[2, 1] = value
        with pytest.raises(ValueRangeError, match=f"^c: mass is {value}; .*sigmoid"):
            classify(broken, labels, sample_ids=ids)
    with pytest.raises(ValueRangeError, match=r"^a: effusion is 2; .*NaN where unknown"):
        classify(probabilities, np.full((4, 2), 2), sample_ids=ids)
    with pytest.raises(ShapeError, match=r"need \(4, 2\)"):
        classify(probabilities[:, 0], labels)
    with pytest.raises(EvalError, match="'detection' is not known"):
        evaluate("detection", probabilities, labels, classes=("a", "b"), patients=ids)


def test_generators_are_scored_one_pair_at_a_time():
    predictions, references = masks(4)
    held = []

    def stream(volumes):
        for i, volume in enumerate(volumes):
            held.append(i)
            yield volume

    done = []
    found = segment(stream(predictions), references, progress=lambda i, n: done.append((i, n, len(held))))
    assert done == [(1, 4, 1), (2, 4, 2), (3, 4, 3), (4, 4, 4)]
    assert found.estimates == segment(predictions, references).estimates


def test_an_evaluation_of_1000_films_and_14_findings_takes_seconds():
    rng = np.random.default_rng(0)
    labels = (rng.random((1000, 14)) < 0.1).astype(float)
    began = time.perf_counter()
    evaluate(
        "classification", rng.random((1000, 14)), labels, classes=[f"f{k}" for k in range(14)], patients=[f"p{i // 2}" for i in range(1000)]
    )
    assert time.perf_counter() - began < 20  # 0.9 s on an idle core


def test_real_hippocampus_masks_against_themselves_and_their_neighbours(shared_data):
    nibabel = pytest.importorskip("nibabel")
    paths = sorted((shared_data / "mr_hippocampus").rglob("*label*/*.nii*"))[:4] or sorted((shared_data / "mr_hippocampus").rglob("*.nii*"))
    volumes = [np.asarray(nibabel.load(path).dataobj) for path in paths]
    volumes = [v.astype(np.uint8) for v in volumes if set(np.unique(v)) == {0, 1, 2}][:4]
    assert len(volumes) >= 2
    names, spacing = ("background", "anterior", "posterior"), [(1.0, 1.0, 1.0)] * len(volumes)
    patients = [f"p{i}" for i in range(len(volumes))]
    same = evaluate("segmentation", volumes, volumes, classes=names, spacing=spacing, patients=patients, samples=50)
    assert (same.estimates["dice"].value, same.estimates["nsd"].value, same.estimates["hd95_mm"].value) == (1, 1, 0)
    # moved by one voxel of 1 mm along an axis, every surface voxel lies at most 1 mm from the other surface
    moved = [np.roll(v, 1, axis=1) for v in volumes]
    shifted = evaluate("segmentation", moved, volumes, classes=names, spacing=spacing, patients=patients, samples=50)
    assert 0.7 < shifted.estimates["dice"].value < 1
    assert shifted.estimates["nsd"].value == 1
    assert 0 < shifted.estimates["hd95_mm"].value <= 1


def test_the_interval_of_the_ece_lies_around_it_although_resampling_adds_to_it():
    # 100 films of a calibrated model in 15 bins: repeated films make the bins scatter more, and nearly all replicates lie above the value
    rng = np.random.default_rng(0)
    probabilities = rng.random((100, 1))
    labels = (rng.random((100, 1)) < probabilities).astype(float)
    patients = [str(i) for i in range(100)]
    estimate = evaluate("classification", probabilities, labels, classes=["mass"], patients=patients, samples=500).estimates["ece"]
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    assert 0.5 < below / above < 2
