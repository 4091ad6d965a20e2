"""Response by RECIST 1.1, on tables worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medphantom.findings.truth import Truth
from medphantom.response import choose_targets, respond


def lesion(name, diameter, *, parents=(), kind="nodule"):
    return Truth(
        kind=kind,
        tracking_id=name,
        side="left",
        lobe=None,
        shape=(4, 4, 4),
        region=(slice(0, 1),) * 3,
        mask=np.ones((1, 1, 1), bool),
        box=(0, 0, 0, 1, 1, 1),
        diameter_mm=diameter,
        short_axis_mm=diameter,
        volume_ml=1,
        center_mm=(0, 0, 0),
        parents=parents,
    )


def visit(**diameters):
    return [lesion(name, diameter) for name, diameter in diameters.items()]


@pytest.mark.parametrize(
    ("later", "category"),
    [
        # first visit 20 + 20 = 40 mm
        ([visit(a=20, b=20)], "SD"),
        ([visit(a=14, b=14)], "PR"),  # 28 = 70 % of 40: a fall of 30 % counts
        ([visit(a=14, b=14.2)], "SD"),  # 28.2: just short of it
        ([visit(a=24, b=24)], "PD"),  # 48 = 120 % and 8 mm more
        ([visit(a=24, b=23.8)], "SD"),  # 47.8: short of 120 %
        ([[]], "CR"),
        ([visit(b=6)], "PR"),
        ([visit(a=20, b=20, c=4)], "PD"),  # a new lesion, however small
        ([visit(a=10, b=10), visit(a=13, b=12)], "PD"),  # 25 against the smallest, 20: 25 % and 5 mm
        ([visit(a=6, b=6), visit(a=8, b=8)], "PR"),  # 33 % above the smallest, but 4 mm: still 60 % below the first
        ([[], visit(a=6)], "PD"),  # what came back after all had gone
    ],
)
def test_the_category_of_the_last_visit(later, category):
    responses = respond([visit(a=20, b=20), *later])
    assert responses[0] is None
    assert responses[-1].category == category
    assert responses[-1].baseline_mm == 40


def test_targets_are_the_two_largest_measurable_nodules():
    truths = [*visit(a=12, b=9.9, c=30, d=18), lesion("e", 50, kind="consolidation")]
    assert choose_targets(truths) == ("c", "d")
    assert choose_targets(visit(a=9)) == ()


def test_parts_of_a_target_are_added_up_and_are_no_new_lesions():
    parts = [lesion("aa", 9, parents=("a",)), lesion("ab", 8, parents=("a",))]
    response = respond([visit(a=20, b=20), [*parts, *visit(b=20)]])[-1]
    assert response.sum_mm == 37
    assert response.new_lesions == ()
    assert response.category == "SD"
    # and on the visit after, where they are known by their own names
    assert respond([visit(a=20, b=20), [*parts, *visit(b=20)], visit(aa=9, ab=8, b=20)])[-1].sum_mm == 37


def test_targets_that_merge_count_once():
    response = respond([visit(a=20, b=15), [lesion("m", 31, parents=("a", "b"))]])[-1]
    assert response.sum_mm == 31
    assert response.new_lesions == ()


def test_lesions_that_are_no_targets_keep_a_response_from_being_complete():
    assert respond([visit(a=20, b=6), visit(b=6)])[-1].category == "PR"
    assert respond([visit(a=6), visit(a=6)])[-1].category == "NN"
    assert respond([visit(a=6), []])[-1].category == "CR"


def test_a_patient_without_lesions_has_no_response_until_one_comes():
    assert respond([[], [], []]) == (None, None, None)
    responses = respond([[], visit(a=12), visit(a=12)])
    assert responses[1].category == "PD"
    assert responses[2].category == "NN"
    assert respond([]) == ()


@settings(max_examples=60)
@given(sums=st.lists(st.floats(0.5, 60), min_size=2, max_size=5))
def test_one_lesion_is_judged_by_first_and_smallest_size(sums):
    first, *rest = [s + 10 if i == 0 else s for i, s in enumerate(sums)]
    nadir = min([first, *rest[:-1]])
    last = rest[-1]
    grown = last >= 1.2 * nadir and last - nadir >= 5
    wanted = "PD" if grown else "PR" if last <= 0.7 * first else "SD"
    assert respond([visit(a=d) for d in [first, *rest]])[-1].category == wanted
