"""People: dates that agree with their ages, and names that no real person has."""

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from medio.keyed import keyed_generator
from medphantom.people import draw_person


def day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**40))
def test_the_age_is_that_of_the_birthday_on_the_study_date(seed):
    person = draw_person(keyed_generator((seed, 0, "a", 0), "person"))
    born, seen = day(person.birth_date), day(person.study_date)
    assert person.age == seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    assert 30 <= person.age <= 89
    assert 2020 <= seen.year <= 2024
    assert (born.month, born.day) != (2, 29)


def test_every_name_says_phantom_and_both_sexes_occur():
    people = [draw_person(keyed_generator((0, 0, str(i), 0), "person")) for i in range(400)]
    assert all(person.name.startswith("PHANTOM^") and "PHANTOM" in person.referrer for person in people)
    # 4 standard deviations of a fair coin's 400 throws are 40
    assert abs(sum(person.sex == "F" for person in people) - 200) <= 40
    assert len({person.name for person in people}) > 390
