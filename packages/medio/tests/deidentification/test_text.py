"""Free text: what tells a person goes, what tells a disease stays."""

from datetime import date, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medio.deidentification.identifiers import Identifiers
from medio.deidentification.policy import Policy
from medio.deidentification.text import TextEntry, scrub_text

POLICY = Policy(key="a secret of 24 letters..", day_first=False)
SHIFT = POLICY.shift_days("id:MRN-778812")
KNOWN = Identifiers.named(
    ["Müller-Brandt^Jürgen^Q", "O'Brolligan^Siobhán", "山田川^太郎丸", "Li^Wu"], ["MRN-0778812", "ACC 99-123", "0047"]
)


def scrub(text: str, policy: Policy = POLICY, known: Identifiers = KNOWN) -> str:
    return scrub_text(text, policy=policy, patient="MRN-778812", identifiers=known)[0]


@pytest.mark.parametrize(
    "text",
    [
        "Nodule 12 x 8 mm in the right upper lobe, 12x8x7 mm on the prior, -15 HU, SUVmax 12.4.",
        "L4-L5 disc protrusion, T12 fracture, C7 and T2; T1/T2 signal, T2/FLAIR; L5/S1 grade 2/4.",
        "BI-RADS 4, LI-RADS 5, Gleason 3+4=7, TNM T2N1M0, WHO grade 3, ASA 2, strength 3/5, pain 5/10.",
        "120 kVp, 250 mAs, 1.5 T, TE 100.5, TR 4500, b 1000 s/mm2, 0.625 mm slices, 512 x 512, 2.5 cm.",
        "Series 4 image 123 (Se:4, Im:123), frames 10-20, phase 3.",
        "45-year-old male, 89 y/o female, 92% stenosis, 95 mm, BP 120/80, 110 bpm, ejection fraction 95 %.",
        "Schatzker type 2, Hill-Sachs lesion, Baker cyst, circle of Willis, foramen of Monro.",
        "Impression: No acute finding. Follow-up in 6 to 12 months. Compare with CT Chest. MR Brain without contrast. MS plaques.",
        "Dr. informed. Discussed with the patient and read by the resident. Called to the ward by phone at 14:30.",
        "The hospital course was uneventful. University-level activity. Clinic follow-up.",
    ],
)
def test_measurements_levels_scores_and_eponyms_stay(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    "form",
    [
        *(
            "Jürgen Müller-Brandt",
            "MÜLLER-BRANDT, JÜRGEN",
            "muller brandt",
            "Mueller-Brandt",
            "MUELLERBRANDT",
            "Müller",
            "Brandt's",
            "jurgen",
        ),
        *("Siobhan O'Brolligan", "O’Brolligan", "OBROLLIGAN", "O Brolligan", "SIOBHÁN", "山田川", "太郎丸", "Mr. Li", "Wu"),
        *("MRN-778812", "MRN 0778812", "mrn778812", "778812", "000778812", "ACC99123", "acc-99-123", "ACC 99123"),
    ],
)
def test_what_is_known_goes_in_every_form(form: str) -> None:
    text = f"The scan of {form} shows a cyst."
    cleaned = scrub(text)
    assert cleaned.startswith("The scan of ")
    assert cleaned.endswith(" shows a cyst.")
    assert not any(
        word in cleaned.lower() for word in ("brandt", "ller", "rgen", "rolligan", "siob", "山", "太", "7788", "9912", " li ", " wu ")
    )


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Dictated by: John A. Smith, M.D.", "Dictated by: [NAME], M.D."),
        ("DICTATED BY: SMITH, JOHN", "DICTATED BY: [NAME]"),
        ("Electronically signed by Mary-Anne van der Berg at 10:15", "Electronically signed by [NAME] at 10:15"),
        ("Findings discussed with Dr. van der Berg at 14:30.", "Findings discussed with Dr. [NAME] at 14:30."),
        ("Seen by Ms. Jones, RN.", "Seen by Ms. [NAME], RN."),
        ("Referring physician: Prof. K. Weber. FINDINGS: clear.", "Referring physician: Prof. [NAME]. FINDINGS: clear."),
        ("Herr Schneider kam zur Kontrolle.", "Herr [NAME] kam zur Kontrolle."),
        ("Patient name: Anna Nowak", "Patient name: [NAME]"),
        ("From St. Mary's General Hospital to Klinikum am Urban.", "From [PLACE] to [PLACE]."),
        ("Seen at University of Springfield.", "Seen at [PLACE]."),
        ("Lives at 12 Elm Street, Springfield, IL 62704.", "Lives at [PLACE], [PLACE]."),
        ("Hauptstraße 17a", "[PLACE]"),
        ("ZIP: 62704-1234, P.O. Box 12", "ZIP: [PLACE], [PLACE]"),
        ("Phone 555-123-4567, fax: (555) 123 4567 ext 12, +49 30 1234567", "Phone [PHONE], fax: [PHONE], [PHONE]"),
        ("Pager 4711, ext. 2201", "Pager [PHONE], ext. [PHONE]"),
        ("Mail a.b@mercy.org or https://pacs.mercy.org/x?id=1 from 10.1.2.3", "Mail [CONTACT] or [CONTACT] from [CONTACT]"),
        ("MRN: 8877, accession # A-77-12, SSN 123-45-6789, case no. 5512", "MRN: [ID], accession # [ID], SSN [ID], case no. [ID]"),
        ("Number 12345678 and AB123456", "Number [ID] and [ID]"),
        ("A 94-year-old woman, aged 101, 90 y/o, 97 years", "A 90+-year-old woman, aged 90+, 90+ y/o, 90+ years"),
    ],
)
def test_names_places_numbers_and_ages_are_told_by_their_context(text: str, cleaned: str) -> None:
    assert scrub(text, known=Identifiers()) == cleaned


FORMS = {
    "%Y-%m-%d": "%Y-%m-%d",
    "%Y%m%d": "%Y%m%d",
    "%m/%d/%Y": "%m/%d/%Y",
    "%m/%d/%y": "%m/%d/%y",
    "%d.%m.%Y": "%d.%m.%Y",
    "%d %B %Y": "%d %B %Y",
    "%B %d, %Y": "%B %d, %Y",
    "%b %d, %Y": "%b %d, %Y",
    "%d-%b-%Y": "%d-%b-%Y",
}


@pytest.mark.parametrize("form", FORMS)
@given(day=st.dates(date(1981, 1, 1), date(2029, 12, 31)))
def test_a_date_moves_as_far_as_the_patients_images_and_keeps_its_form(form: str, day: date) -> None:
    assume("%b" not in form or day.month != 5)  # May is the same in both forms
    moved = day + timedelta(days=SHIFT)
    assert scrub(f"Compared with {day.strftime(form)}.", known=Identifiers()) == f"Compared with {moved.strftime(form)}."


def test_other_dates_months_years_and_birthdays() -> None:
    move = lambda y, m, d: date(y, m, d) + timedelta(days=SHIFT)  # noqa: E731
    assert (
        scrub("on March 4th, 2021")
        == f"on {move(2021, 3, 4):%B} {move(2021, 3, 4).day}{_ending(move(2021, 3, 4).day)}, {move(2021, 3, 4).year}"
    )
    assert scrub("March 2020") == f"{move(2020, 3, 15):%B %Y}"
    assert scrub("seen 03/2020") == f"seen {move(2020, 3, 15):%m/%Y}"
    assert scrub("surgery in 2018") == f"surgery in {move(2018, 7, 1).year}"
    assert scrub("am 4. März 2021").split()[-1] == str(move(2021, 3, 4).year)
    assert scrub("DOB: 06/07/1950, born on 7 June 1950") == "DOB: [DATE], born on [DATE]"
    assert scrub("seen on 3/4 and since 3/14.") == "seen on [DATE] and since [DATE]."
    assert scrub("2021-03-04T10:11:12").endswith("T10:11:12")
    known = Identifiers(births=frozenset({date(1950, 6, 7)}))
    assert scrub("the day 1950-06-07", known=known) == "the day [DATE]"
    assert scrub("99/99/2021 and 2021-13-40 are none") == "99/99/2021 and 2021-13-40 are none"


def _ending(day: int) -> str:
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def test_what_could_be_two_days_is_not_guessed() -> None:
    cautious = Policy(key=POLICY.key)
    moved = date(2021, 3, 14) + timedelta(days=cautious.shift_days("id:MRN-778812"))
    assert scrub("03/04/2021, 03/14/2021, 14/03/2021, 03/03/2021", cautious).startswith(f"[DATE], {moved:%m/%d/%Y}, {moved:%d/%m/%Y}, ")
    assert scrub("03/04/2021", Policy(key=POLICY.key, day_first=True)) != scrub("03/04/2021")
    assert scrub("03/14/2021 and 2021", Policy(key=POLICY.key, dates="remove")) == "[DATE] and 2021"
    keep = Policy(key=POLICY.key, dates="keep")
    known = Identifiers(births=frozenset({date(1950, 6, 7)}))
    assert scrub("03/14/2021, 03/04/2021, on 3/4, in 2018", keep, known) == "03/14/2021, 03/04/2021, on 3/4, in 2018"
    assert scrub("06/07/1950 or 7.6.1950", keep, known) == "[DATE] or [DATE]"


def test_the_same_patient_moves_the_same_in_text_and_images_however_the_id_is_padded() -> None:
    text = "2021-03-04"
    for patient in ("MRN-778812", " MRN-778812 ", "id:MRN-778812"):
        assert scrub_text(text, policy=POLICY, patient=patient)[0] == f"{date(2021, 3, 4) + timedelta(days=SHIFT)}"
    assert scrub_text(text, policy=POLICY, patient="another")[0] != scrub(text)


def test_the_audit_says_where_and_what_kind_but_no_value() -> None:
    text = "Dr. Smith saw MRN: 12345 on 2021-03-04."
    cleaned, audit = scrub_text(text, policy=POLICY, patient="x", identifiers=["Smith"])
    assert [(entry.kind, text[entry.start : entry.end], entry.action) for entry in audit] == [
        ("name", "Smith", "removed"),
        ("id", "12345", "removed"),
        ("date", "2021-03-04", "shifted"),
    ]
    assert set(TextEntry.__dataclass_fields__) == {"kind", "start", "end", "action"}
    assert cleaned.startswith("Dr. [NAME] saw MRN: [ID] on ")


words = st.text(st.characters(categories=("L", "N", "P", "Z")), max_size=60)


@given(words, words, st.sampled_from(["Krovicssen", "KROVICSSEN", "krovicssen", "Krovícssen", "Krovicssen"]))
def test_any_text_around_a_name_gives_it_no_shelter_and_cleaning_twice_changes_nothing_more(before: str, after: str, name: str) -> None:
    known = Identifiers.named(["Krovicssen^Anna"])
    once = scrub(f"{before} {name} {after}", known=known)
    assert "krov" not in once.lower()
    keep = Policy(key=POLICY.key, dates="keep")
    twice = scrub(scrub(f"{before} {name} {after}", keep, known), keep, known)
    assert scrub(twice, keep, known) == twice


@pytest.mark.parametrize("piece", ["A", "a", "1", "Abcdef ", "ABCDEF ", "A1-", "a.b.", "O'Neil-", "Smith, ", "J. ", "12 ", "a@", "St. "])
@pytest.mark.timeout(20)
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    # Some of these took minutes while repetitions in the rules were unbounded.
    scrub(piece * (30_000 // len(piece)))
