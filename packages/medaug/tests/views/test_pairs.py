"""Pairs of a patient: who may be paired, chosen by the key."""

import collections

import pytest
import torch
from scipy import stats

from medaug.compose import Compose
from medaug.errors import AugmentationError
from medaug.intensity.noise import Noise
from medaug.views.pairs import PairViews, PatientPairs, view_keys

# patient A: four studies, two on one day; B: one; C: two, a year apart
IDS = ["a0", "a1", "a2", "a3", "b0", "c0", "c1"]
PATIENTS = ["A", "A", "A", "A", "B", "C", "C"]
DAYS = [0.0, 0.0, 10.0, 100.0, 5.0, 0.0, 365.0]


@pytest.mark.parametrize(
    ("options", "sample", "partners"),
    [
        ({"dates": "any"}, "a0", ("a1", "a2", "a3")),
        ({"dates": "same"}, "a0", ("a1",)),
        ({"dates": "same"}, "a2", ()),
        ({"dates": "different"}, "a0", ("a2", "a3")),
        ({"dates": "different", "days_apart": (5, 90)}, "a0", ("a2",)),
        ({"dates": "different", "days_apart": (5, 90)}, "a3", ("a2",)),
        ({"dates": "different", "days_apart": (0, 90)}, "c0", ()),
        ({"dates": "any"}, "b0", ()),
    ],
)
def test_partners_are_of_the_same_patient_and_of_the_dates_asked_for(options, sample, partners):
    assert PatientPairs(ids=IDS, patients=PATIENTS, days=DAYS, **options).candidates(sample) == partners


def test_every_candidate_is_chosen_equally_often_over_epochs():
    pairs = PatientPairs(ids=IDS, patients=PATIENTS)
    counts = collections.Counter(pairs.partner((0, epoch, "a1", 0)) for epoch in range(3000))
    assert set(counts) == {"a0", "a2", "a3"}
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_the_order_of_the_table_and_the_view_change_no_choice():
    pairs = PatientPairs(ids=IDS, patients=PATIENTS, days=DAYS, dates="different")
    turned = PatientPairs(ids=IDS[::-1], patients=PATIENTS[::-1], days=DAYS[::-1], dates="different")
    for epoch in range(50):
        for sample in IDS:
            assert pairs.partner((3, epoch, sample, 0)) == turned.partner((3, epoch, sample, 1))


def test_a_sample_without_partner_pairs_with_itself_or_is_an_error():
    assert PatientPairs(ids=IDS, patients=PATIENTS).partner((0, 0, "b0", 0)) == "b0"
    with pytest.raises(AugmentationError, match="b0: has no partner"):
        PatientPairs(ids=IDS, patients=PATIENTS, alone="error").partner((0, 0, "b0", 0))
    with pytest.raises(AugmentationError, match="not in the table"):
        PatientPairs(ids=IDS, patients=PATIENTS).partner((0, 0, "z", 0))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"patients": PATIENTS[:-1]}, "one patient and day"),
        ({"ids": ["a0"] * 7}, "1 differ"),
        ({"dates": "same"}, "finite number in `days`"),
        ({"dates": "different", "days": [*DAYS[:-1], float("nan")]}, "finite number"),
        ({"dates": "any", "days_apart": (1, 2)}, "days_apart"),
        ({"dates": "never"}, "any, same or different"),
    ],
)
def test_tables_that_do_not_say_who_pairs_are_refused(options, reason):
    with pytest.raises(AugmentationError, match=reason):
        PatientPairs(**{"ids": IDS, "patients": PATIENTS, **options})


def test_two_views_are_augmented_by_the_keys_of_their_numbers():
    augment = Compose([Noise(std=1.0)])
    batch = {"image": torch.zeros(3, 1, 4, 4), "key": [(0, 0, str(i), 1) for i in range(3)]}
    first, second = PairViews(first=augment)(batch)
    # view 1 of the sample has the views 2 * 1 and 2 * 1 + 1
    for view, number in ((first, 2), (second, 3)):
        assert view["key"] == [(0, 0, str(i), number) for i in range(3)]
        assert torch.equal(view["image"], augment.batch({**batch, "key": view["key"]})["image"])
    assert not torch.equal(first["image"], second["image"])


def test_the_second_view_can_be_another_sample_and_another_chain():
    batch = {"image": torch.zeros(2, 1, 4, 4), "key": [(0, 0, "a", 0), (0, 0, "c", 0)]}
    partner = {"image": torch.full((2, 1, 4, 4), 7.0), "key": [(0, 0, "b", 0), (0, 0, "d", 0)]}
    first, second = PairViews(first=Compose([Noise(std=1.0)]), second=Compose([]))(batch, partner)
    assert torch.equal(second["image"], partner["image"])
    assert second["key"] == [(0, 0, "b", 1), (0, 0, "d", 1)]
    assert first["key"] == [(0, 0, "a", 0), (0, 0, "c", 0)]
    with pytest.raises(AugmentationError, match="give one each"):
        PairViews(first=Compose([]))(batch, {"image": partner["image"][:1], "key": partner["key"][:1]})


def test_numbers_of_views_of_views_stay_apart():
    keys = [(0, 0, "a", view) for view in range(3)]
    numbers = [key[3] for number in range(4) for key in view_keys(keys, number, 4)]
    assert sorted(numbers) == list(range(12))
