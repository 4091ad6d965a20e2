"""Sites differ in what a model should not depend on, and in whom they see; their machines' options must be ones that machines can have."""

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

from medio.keyed import keyed_generator
from medphantom.anatomy import draw_anatomy
from medphantom.errors import ScanError
from medphantom.findings.drawing import KINDS, draw_findings
from medphantom.records import covering, views_of
from medphantom.sites import SITES, Site, draw_site, make_sites

PATIENTS = 150


def within(count: int, of: int, share: float) -> bool:
    """Within four standard deviations of a binomial: a right draw fails in 1 of 16,000."""
    return abs(count - of * share) <= 4 * np.sqrt(of * share * (1 - share)) + 0.5


@pytest.mark.parametrize("site", [SITES[2], pytest.param(SITES[0], marks=pytest.mark.slow)], ids=lambda site: site.model)
def test_a_sites_prevalence_shows_in_its_patients(site):
    counts = dict.fromkeys(KINDS, 0)
    for index in range(PATIENTS):
        anatomy = draw_anatomy(keyed_generator((1, 0, f"p-{index}", 0), "anatomy"), sex="F", enlarged_heart=False)
        found = {finding.kind for finding in draw_findings(keyed_generator((1, 0, f"p-{index}", 0), "findings"), anatomy, site.prevalence)}
        for kind in found:
            counts[kind] += 1
    for kind in KINDS:
        assert within(counts[kind], PATIENTS, site.prevalence.get(kind, 0.0)), kind
    assert set(site.prevalence) <= set(KINDS)


def test_patients_are_spread_evenly_over_the_sites():
    drawn = [draw_site(keyed_generator((0, 0, f"phantom-{i}", 0), "site"), SITES) for i in range(900)]
    assert all(within(drawn.count(site), 900, 1 / 3) for site in SITES)


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.model)
def test_the_share_of_bedside_films_is_the_sites(site):
    views = [views_of(site, keyed_generator((0, 0, f"phantom-{i}", 0), "views")) for i in range(600)]
    assert within(sum(one[0].position == "AP" for one in views), 600, site.ap_share)
    assert {tuple(view.position for view in one) for one in views} == {("AP",), ("PA", "LAT")}


def test_made_sites_begin_with_the_presets_and_more_leave_the_others_alone():
    assert make_sites(3) == SITES
    assert make_sites(2) == SITES[:2]
    few, many = make_sites(6, seed=4), make_sites(12, seed=4)
    assert many[:6] == few
    assert make_sites(6, seed=5)[3:] != few[3:]
    assert len({site.name for site in many}) == len({site.model for site in many}) == 12
    for name in ("noise_hu", "film_photons", "film_scatter", "mr_scale", "ap_share"):
        assert len({getattr(site, name) for site in many}) >= 10
    assert all(set(site.prevalence) <= set(KINDS) for site in many)
    assert len({site.prevalence["effusion"] for site in many[3:]}) >= 7


def test_a_site_survives_being_sent_to_another_process_and_is_a_key():
    back = pickle.loads(pickle.dumps(SITES[0]))
    assert back == SITES[0]
    assert {SITES[0]: 1}[back] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"noise_hu": -1}, "noise_hu must be 0 or more"),
        ({"film_photons": 0}, "film_photons must be positive"),
        ({"film_curve": float("inf")}, "film_curve must be positive and finite"),
        ({"kernel": "soft"}, "kernel must be 1 to 16 capitals"),
        ({"mr_bias": 1.0}, "mr_bias must lie between 0 and 1"),
        ({"ap_share": 1.2}, "ap_share is a share"),
        ({"prevalence": {"nodule": 2}}, "prevalence of 'nodule' is a share"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "spacing_mm must be three positive lengths"),
        ({"vendor": "A\\B"}, "vendor must be 1 to 64 printable characters"),
        ({"name": ""}, "name must be 1 to 64"),
    ],
)
def test_what_no_machine_can_have_is_refused(change, said):
    with pytest.raises(ScanError, match=said):
        replace(SITES[0], **change)


def test_no_site_is_refused():
    with pytest.raises(ScanError, match="count must be 1 or more"):
        make_sites(0)


def test_only_name_vendor_model_noise_and_photons_must_be_given():
    given = {"name": "A", "vendor": "B", "model": "C", "noise_hu": 5.0, "film_photons": 1e5}
    site = Site(**given)
    assert site.prevalence == {}
    assert {field.name for field in fields(Site)} >= {"kernel_mm", "slice_thickness_mm", "film_curve", "mr_scale", "mr_bias"}


def test_the_default_scan_covers_the_thorax():
    for spacing in ((3.0, 3.0, 3.0), (5.0, 2.5, 2.0)):
        shape = covering(spacing)
        assert np.multiply(shape, spacing) == pytest.approx((288, 336, 384), abs=max(spacing) / 2)
