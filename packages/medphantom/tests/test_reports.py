"""Reports: what the text says, found again by rules of its own, is what the statements and the truth say."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medphantom.errors import PhantomError
from medphantom.findings.truth import Truth
from medphantom.reports.dialogue import dialogue
from medphantom.reports.grammar import express
from medphantom.reports.lexicon import LOBES
from medphantom.reports.planning import change_between
from medphantom.reports.statements import Report, Statement
from medphantom.reports.styles import STYLES
from medphantom.reports.writing import write_visit_report

# An independent reader: what a sentence must hold for a person to take it as a denial, as a doubt, as a change.
DENIAL = re.compile(r"\b(no|not demonstrated|absence|none)\b(?! longer| relevant)", re.I)
GONE = re.compile(r"resolved|no longer|\bgone\b", re.I)
DOUBT = re.compile(r"possibl|suspect|cannot|may represent|questionable|perhaps|\?", re.I)
CHANGES = {
    "new": r"\bnew\b|was not there before|has appeared",
    "larger": r"grown|larger|increase|growth|bigger|\bup\b",
    "smaller": r"shrunk|smaller|decrease|regression|\bdown\b",
    "stable": r"unchanged|stable|no relevant change",
    "resolved": GONE.pattern,
}
SHORT = {"RUL": "right_upper", "RML": "right_middle", "RLL": "right_lower", "LUL": "left_upper", "LLL": "left_lower"}
NAMES = {
    "nodule": r"nodule",
    "consolidation": r"consolidation",
    "effusion": r"effusion",
    "pneumothorax": r"pneumothorax|PTX",
    "cardiomegaly": r"cardiomegaly",
    "rib_fracture": r"rib fracture|rib fx",
    "pacemaker": r"pacemaker",
    "edema": r"oedema",
}


def make_truth(
    kind: str, name: str, *, side: str | None = None, lobe: str | None = None, mm: float | None = None, ml: float = 900.0, **parameters
):
    return Truth(
        kind=kind,
        tracking_id=name,
        side=side,
        lobe=lobe,
        shape=(1, 1, 1),
        region=(slice(0, 1),) * 3,
        mask=np.ones((1, 1, 1), bool),
        box=(0, 0, 0, 1, 1, 1),
        diameter_mm=mm,
        short_axis_mm=mm,
        volume_ml=ml,
        center_mm=(0.0, 0.0, 0.0),
        parameters=parameters,
    )


def read_sentence(text: str) -> dict[str, object]:
    """Status, place, measure and change of a sentence, by rules that know nothing of the templates."""
    lobe = next((name for name, words in LOBES.items() if words in text), None) or next(
        (SHORT[s] for s in SHORT if re.search(rf"\b{s}\b", text)), None
    )
    side = "left" if re.search(r"\bleft\b|\bL\b", text) else "right" if re.search(r"\bright\b|\bR\b", text) else None
    side = lobe.split("_")[0] if lobe else "both" if re.search(r"both sides|bilat", text) else side
    lengths = re.findall(r"([\d.]+) (mm|cm)", text)
    measure = round(float(lengths[-1][0]) * (10 if lengths[-1][1] == "cm" else 1)) if lengths else None
    change = next((name for name, pattern in CHANGES.items() if re.search(pattern, text, re.I)), None)
    status = "absent" if DENIAL.search(text) or GONE.search(text) else "uncertain" if DOUBT.search(text) else "present"
    return {"status": status, "side": side, "lobe": lobe, "measure_mm": measure, "change": change}


def believed(statement: Statement) -> dict[str, object]:
    return {name: getattr(statement, name) for name in ("status", "side", "lobe", "measure_mm", "change")}


LESION = st.builds(
    lambda lobe, mm, density, margin: {"lobe": lobe, "side": lobe.split("_")[0], "mm": mm, "density": density, "margin": margin},
    st.sampled_from(sorted(LOBES)),
    st.floats(4, 60),
    st.sampled_from(["solid", "part-solid", "ground-glass"]),
    st.sampled_from(["smooth", "lobulated", "spiculated"]),
)
OTHERS = st.lists(
    st.sampled_from(
        [
            ("effusion", {"side": "left", "ml": 20.0}),
            ("effusion", {"side": "right", "ml": 900.0}),
            ("pneumothorax", {"side": "right", "share": 0.3}),
            ("cardiomegaly", {}),
            ("edema", {"side": "both", "severity": 0.3}),
            ("pacemaker", {"side": "left"}),
            ("rib_fracture", {"side": "right"}),
        ]
    ),
    max_size=4,
    unique_by=lambda one: (one[0], one[1].get("side")),
)


@st.composite
def visits(draw: st.DrawFn) -> list[Truth]:
    lesions = draw(st.dictionaries(st.integers(0, 4), LESION, max_size=3))
    truths = [make_truth("nodule", f"nodule-{number}", **lesion) for number, lesion in lesions.items()]
    return truths + [make_truth(kind, f"{kind}-{place.get('side')}", **place) for kind, place in draw(OTHERS)]


def write(truths: list[Truth], modality: str, style: str, seed: int, prior: list[Truth] | None) -> Report:
    return write_visit_report(
        truths, modality=modality, rng=np.random.default_rng(seed), prior=prior, days_since_prior=90, style=style, hedging=0.3
    )


@settings(max_examples=150, deadline=None)
@given(visits(), st.none() | visits(), st.sampled_from(["CT", "PA", "AP", "LAT"]), st.sampled_from(sorted(STYLES)), st.integers(0, 2**32))
def test_a_reader_without_the_templates_finds_each_statement_in_its_sentence(truths, prior, modality, style, seed):
    report = write(truths, modality, style, seed, prior)
    for statement in report.statements:
        said = report.said(statement)
        assert re.search(NAMES[statement.finding], said, re.I)
        assert read_sentence(re.sub(r"^\d+\. ", "", said)) == believed(statement)


@settings(max_examples=150, deadline=None)
@given(visits(), st.none() | visits(), st.sampled_from(["CT", "PA", "AP", "LAT"]), st.sampled_from(sorted(STYLES)), st.integers(0, 2**32))
def test_a_report_says_nothing_that_is_not_so(truths, prior, modality, style, seed):
    report = write(truths, modality, style, seed, prior)
    there = {truth.tracking_id: truth for truth in truths}
    before = {truth.tracking_id: truth for truth in prior or ()}
    for statement in report.statements:
        if statement.status == "absent":
            if statement.tracking_id:
                assert statement.change == "resolved"
                assert statement.tracking_id in before.keys() - there.keys()
            else:
                assert statement.finding not in {truth.kind for truth in truths}
            continue
        truth = there[statement.tracking_id]
        assert (statement.finding, statement.side) == (truth.kind, None if modality == "LAT" else truth.side)
        assert statement.lobe in (None, truth.lobe)
        if statement.measure_mm is not None:
            assert abs(statement.measure_mm - truth.diameter_mm) <= 0.5
        if statement.change in ("larger", "smaller", "stable"):
            assert statement.tracking_id in before
        # a film may call new what the one before did not show
        if statement.change == "new" and modality == "CT":
            assert statement.tracking_id not in before
    # every claim of the text is a statement: no kind is named outside their sentences
    spans = [statement.span for statement in report.statements]
    rest = "".join(c for i, c in enumerate(report.text) if not any(start <= i < end for start, end in spans))
    assert not any(re.search(pattern, rest, re.I) for pattern in NAMES.values())


@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_ct_report_speaks_of_every_finding_and_its_comparison_of_every_change(style):
    prior = [
        make_truth("nodule", "a", side="right", lobe="right_upper", mm=10.2, density="solid"),
        make_truth("nodule", "b", side="left", lobe="left_lower", mm=20.0, density="solid"),
        make_truth("nodule", "c", side="left", lobe="left_upper", mm=14.0, density="solid"),
        make_truth("effusion", "d", side="left", ml=500.0),
    ]
    truths = [
        make_truth("nodule", "a", side="right", lobe="right_upper", mm=14.6, density="solid"),
        make_truth("nodule", "b", side="left", lobe="left_lower", mm=12.0, density="solid"),
        make_truth("nodule", "e", side="right", lobe="right_middle", mm=8.0, density="ground-glass"),
        make_truth("effusion", "d", side="left", ml=550.0),
    ]
    report = write(truths, "CT", style, 3, prior)
    found = {s.tracking_id: s.change for s in report.statements if s.change is not None}
    # 10.2 to 14.6 mm and 20 to 12 mm are more than 2 mm; 500 to 550 ml is less than a quarter
    assert found == {"a": "larger", "b": "smaller", "c": "resolved", "d": "stable", "e": "new"}
    measured = {s.tracking_id: s.measure_mm for s in report.statements if s.measure_mm is not None}
    assert measured == {"a": 15, "b": 12, "e": 8}
    assert report.text.startswith("SYNTHETIC")
    for name in ("technique", "findings", "comparison", "impression"):
        assert report.section(name).strip()
    for statement in report.statements:
        assert sum(start <= statement.span[0] and statement.span[1] <= end for start, end in report.sections.values()) == 1


def test_parts_of_a_split_lesion_are_compared_with_it_and_it_is_not_gone():
    whole = make_truth("nodule", "n", side="left", lobe="left_upper", mm=30.0, density="solid")
    parts = [replace(make_truth("nodule", f"n{x}", side="left", lobe="left_upper", mm=14.0, density="solid"), parents=("n",)) for x in "ab"]
    split = write(parts, "CT", "prose", 0, [whole])
    assert {s.tracking_id: s.change for s in split.statements if s.change} == {"na": "smaller", "nb": "smaller"}
    merged = write([replace(whole, parents=("na", "nb"))], "CT", "prose", 0, [replace(part, parents=()) for part in parts])
    assert {s.tracking_id: s.change for s in merged.statements if s.change} == {"n": "larger"}


def test_a_kind_that_is_not_the_packages_own_is_called_by_its_name():
    report = write([make_truth("pleural_plaque", "p", side="left")], "CT", "prose", 0, None)
    assert ("pleural_plaque", "left") in {(s.finding, s.side) for s in report.statements}
    assert "pleural plaque on the left" in report.text


def test_a_first_visit_has_no_comparison():
    report = write([make_truth("cardiomegaly", "heart")], "CT", "prose", 0, None)
    assert "comparison" not in report.sections
    assert {s.change for s in report.statements} == {None}


def test_styles_and_seeds_word_the_same_truth_differently():
    truths = [make_truth("nodule", "a", side="right", lobe="right_upper", mm=12.0, density="solid"), make_truth("cardiomegaly", "b")]
    texts = {style: {write(truths, "CT", style, seed, None).text for seed in range(8)} for style in STYLES}
    assert len(texts) >= 5
    assert sum(len(some) for some in texts.values()) == len(set.union(*texts.values()))
    assert all(len(some) >= 3 for some in texts.values())
    drawn = {write_visit_report(truths, modality="CT", rng=np.random.default_rng(seed)).style for seed in range(60)}
    assert drawn == set(STYLES)  # each is missed with probability (5/6)^60 < 2e-5


def test_a_film_is_silent_about_what_it_does_not_show():
    hidden = [
        make_truth("nodule", "a", side="left", lobe="left_upper", mm=6.0, density="solid"),
        make_truth("nodule", "b", side="left", lobe="left_lower", mm=20.0, density="ground-glass"),
        make_truth("effusion", "c", side="left", ml=100.0),
    ]
    for seed in range(20):
        report = write(hidden, "PA", "prose", seed, None)
        assert not re.search("nodule|effusion", report.text)
    # 100 ml is enough for a lateral view (75 ml)
    assert "effusion" in write(hidden, "LAT", "prose", 0, None).text
    shown = [make_truth("nodule", "a", side="left", lobe="left_upper", mm=25.0, density="solid", margin="spiculated")]
    assert not re.search(r"lobe|mm|spiculated", write(shown, "PA", "prose", 0, None).text)


def test_the_same_key_gives_the_same_report():
    truths = [make_truth("nodule", "a", side="left", lobe="left_upper", mm=25.0, density="solid")]
    assert write(truths, "CT", "formal", 5, None) == write(truths, "CT", "formal", 5, None)


def test_an_unknown_style_names_the_known_ones():
    with pytest.raises(PhantomError, match="report style 'prosaic' is not known; use one of prose, formal"):
        write([], "CT", "prosaic", 0, None)


def test_choices_nest_and_each_is_taken_as_often():
    rng = np.random.default_rng(0)
    drawn = [express("{who} [is|[was|had been]] here", {"who": "She"}, rng) for _ in range(4000)]
    shares = {text: drawn.count(text) / 4000 for text in set(drawn)}
    # standard error of a share of 4000 is below 0.8 %
    assert shares == pytest.approx({"She is here": 0.5, "She was here": 0.25, "She had been here": 0.25}, abs=0.04)
    with pytest.raises(ValueError, match="does not close"):
        express("a [b", {}, rng)
    with pytest.raises(ValueError, match="never opened"):
        express("a b]", {}, rng)


@pytest.mark.parametrize(("before", "after", "change"), [(10, 11.9, "stable"), (10, 12, "larger"), (10, 8, "smaller"), (10, 8.1, "stable")])
def test_a_nodule_changes_by_two_millimetres(before, after, change):
    assert change_between(make_truth("nodule", "a", mm=before), make_truth("nodule", "a", mm=after)) == change


def test_a_finding_of_neither_visit_has_no_change():
    with pytest.raises(ValueError, match="neither visit"):
        change_between(None, None)


def test_the_dialogue_answers_with_the_truth():
    prior = [make_truth("nodule", "a", side="right", lobe="right_upper", mm=10.0, density="solid")]
    truths = [
        make_truth("nodule", "a", side="right", lobe="right_upper", mm=14.6, density="solid"),
        make_truth("nodule", "b", side="left", lobe="left_lower", mm=30.4, density="solid"),
        make_truth("effusion", "c", side="left", ml=500.0),
    ]
    report = write(truths, "CT", "numbered", 0, prior)
    pairs = dialogue(truths, modality="CT", report=report, prior=prior)
    answers = {pair.question: pair.answer for pair in pairs}
    assert answers["Is there a pulmonary nodule?"] == "Yes."
    assert answers["How many pulmonary nodules are there?"] == "2"
    assert answers["How large is the pulmonary nodule in the left lower lobe?"] == "30 mm."
    assert answers["On which side is the pleural effusion?"] == "On the left."
    assert answers["Is there a pneumothorax?"] == "No."
    assert answers["How have the pulmonary nodules changed since the prior?"] == "1 larger, 1 new."
    assert {pair.kind for pair in pairs} == {"presence", "side", "size", "comparison", "count", "summary", "extraction"}
    extracted = json.loads(next(pair.answer for pair in pairs if pair.kind == "extraction"))
    assert [(one["finding"], one["status"]) for one in extracted] == [(s.finding, s.status) for s in report.statements]
    # of two nodules, neither can be asked for by kind alone
    assert not any(pair.kind == "side" and pair.finding == "nodule" for pair in pairs)


def test_nothing_is_asked_of_a_film_that_it_hides():
    truths = [make_truth("effusion", "c", side="left", ml=100.0)]
    assert "effusion" not in {pair.finding for pair in dialogue(truths, modality="PA")}
    assert "cardiomegaly" not in {pair.finding for pair in dialogue(truths, modality="AP")}
    assert "effusion" in {pair.finding for pair in dialogue(truths, modality="LAT")}
