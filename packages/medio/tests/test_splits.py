"""Splits are by patient, exact in size, and blind to the order of the files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medio import split_patients

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
patients = st.lists(st.text(min_size=1, max_size=6), min_size=3, max_size=60, unique=True)


@given(patients, st.integers(0, 9), st.randoms())
def test_order_and_repeats_change_nothing(names, seed, random):
    films = [*names, *random.choices(names, k=20)]
    random.shuffle(films)
    assert split_patients(films, SHARES, seed) == split_patients(names, SHARES, seed)


@given(patients, st.integers(0, 9))
def test_every_patient_has_one_split_and_sizes_are_the_rounded_shares(names, seed):
    given_ = split_patients(names, SHARES, seed)
    assert set(given_) == set(names)
    sizes = {split: list(given_.values()).count(split) for split in SHARES}
    assert sizes["test"] == max(1, round(0.2 * len(names)))
    assert sizes["val"] == max(1, round(0.1 * len(names)))
    assert sizes["train"] >= 1


def test_another_seed_gives_another_split():
    names = [f"p{i}" for i in range(50)]
    assert split_patients(names, SHARES, 0) != split_patients(names, SHARES, 1)


def test_a_new_patient_moves_few_others():
    # The order is a hash of each patient alone, so one more patient shifts at most one across each of the two borders.
    names = [f"p{i}" for i in range(100)]
    before, after = split_patients(names, SHARES, 0), split_patients([*names, "new"], SHARES, 0)
    assert sum(before[n] != after[n] for n in names) <= 3


@pytest.mark.parametrize(
    ("names", "shares", "says"), [(["a", "b"], SHARES, "2 patients cannot be split into 3"), (["a"] * 9, {"train": 0.5}, "sum to 1")]
)
def test_what_cannot_be_split_is_refused(names, shares, says):
    with pytest.raises(ValueError, match=says):
        split_patients(names, shares, 0)
