"""Dates as people write them, moved and written the same way again."""

import re
from collections.abc import Callable
from datetime import date

Replaced = str | None
"""The new text, empty for a date that goes; None for what is no date after all."""
Move = Callable[[date], date | None]
Rewrite = Callable[[re.Match[str], Move, bool | None], Replaced]

_ENGLISH = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
_GERMAN = ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember")
_LONG = {name.lower(): (number, names) for names in (_GERMAN, _ENGLISH) for number, name in enumerate(names, start=1)}
_SHORT = {name[:3].lower(): (number, _ENGLISH) for number, name in enumerate(_ENGLISH, start=1)} | {
    "mär": (3, _GERMAN),
    "mai": (5, _GERMAN),
    "okt": (10, _GERMAN),
    "dez": (12, _GERMAN),
    "sept": (9, _ENGLISH),
}
_NAMES = "|".join(sorted({*_LONG, *_SHORT}, key=len, reverse=True))
_MONTH = rf"(?P<month>{_NAMES})(?P<dot>\.?)"
_YEAR = r"(?P<year>(?:19|20)\d{2})"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w./-]){pattern}(?![\w/-]|\.\d)", re.IGNORECASE)


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _padded(number: int, like: str) -> str:
    return f"{number:02d}" if len(like) == 2 else str(number)


def _year_first(match: re.Match[str], move: Move, _: bool | None) -> Replaced:
    old = _day(int(match["year"]), int(match["m"]), int(match["d"]))
    if old is None:
        return None
    new = move(old)
    gap = match["gap"]
    return f"{new.year:04d}{gap}{_padded(new.month, match['m'])}{gap}{_padded(new.day, match['d'])}" if new else ""


def _numeric(match: re.Match[str], move: Move, day_first: bool | None) -> Replaced:
    """03/04/2021 and the like; with dots the day comes first, as in every country that writes dots."""
    a, b, y, gap = match["a"], match["b"], match["y"], match["gap"]
    year = int(y) if len(y) == 4 else 2000 + int(y) if int(y) <= 69 else 1900 + int(y)
    orders = {True: _day(year, int(b), int(a)), False: _day(year, int(a), int(b))}
    first = True if gap == "." else day_first
    if first is None:
        sure = [order for order, day in orders.items() if day is not None]
        if not sure:
            return None
        if len(sure) == 2 and orders[True] != orders[False]:
            return ""
        first = sure[0]
    elif orders[first] is None:
        if gap == ".":
            return None
        first = not first
    old = orders[first]
    if old is None:
        return None
    new = move(old)
    if new is None:
        return ""
    parts = (new.day, new.month) if first else (new.month, new.day)
    written = f"{new.year:04d}" if len(y) == 4 else f"{new.year % 100:02d}"
    return f"{_padded(parts[0], a)}{gap}{_padded(parts[1], b)}{gap}{written}"


def _month_name(match: re.Match[str], new: date) -> str:
    word = match["month"]
    long = _LONG.get(word.lower())
    _, names = long or _SHORT[word.lower()]
    name = names[new.month - 1] if long else names[new.month - 1][:3]  # "May" counts as written out
    name = name.upper() if word.isupper() else name.lower() if word.islower() else name
    return name + match["dot"]


def _in_words(match: re.Match[str], move: Move, _: bool | None) -> Replaced:
    """4 March 2021, March 4th, 2021, 04-MAR-2021, 4. März 2021."""
    month = (_LONG.get(match["month"].lower()) or _SHORT[match["month"].lower()])[0]
    y = match["year"]
    year = int(y) if len(y) == 4 else 2000 + int(y) if int(y) <= 69 else 1900 + int(y)
    old = _day(year, month, int(match["d"]))
    if old is None:
        return None
    new = move(old)
    if new is None:
        return ""
    written = f"{new.year:04d}" if len(y) == 4 else f"{new.year % 100:02d}"
    text = match.group()
    at = match.start()
    edits = {"d": _padded(new.day, match["d"]), "year": written}
    spans = [(match.start(k) - at, match.end(k) - at, v) for k, v in edits.items()]
    spans.append((match.start("month") - at, match.end("dot") - at, _month_name(match, new)))
    if match["th"]:
        ending = "th" if 10 < new.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(new.day % 10, "th")
        spans.append((match.start("th") - at, match.end("th") - at, ending))
    for start, end, value in sorted(spans, reverse=True):
        text = text[:start] + value + text[end:]
    return text


def _month_and_year(match: re.Match[str], move: Move, _: bool | None) -> Replaced:
    """March 2021: no day is told, so the middle of the month moves."""
    month = (_LONG.get(match["month"].lower()) or _SHORT[match["month"].lower()])[0]
    new = move(date(int(match["year"]), month, 15))
    return f"{_month_name(match, new)}{match['gap']}{new.year:04d}" if new else ""


def _numeric_month(match: re.Match[str], move: Move, _: bool | None) -> Replaced:
    new = move(date(int(match["year"]), int(match["m"]), 15))
    return f"{_padded(new.month, match['m'])}/{new.year:04d}" if new else ""


def _year_alone(match: re.Match[str], move: Move, _: bool | None) -> Replaced:
    new = move(date(int(match["year"]), 7, 1))
    return f"{match['lead']}{new.year:04d}" if new else f"{match['lead']}[DATE]"


def _gone(match: re.Match[str], _move: Move, _: bool | None) -> Replaced:
    return f"{match['lead']}[DATE]"


_WORD_DAY = r"(?P<d>\d{1,2})(?P<th>st|nd|rd|th)?\.?"
DATE_RULES: tuple[tuple[re.Pattern[str], Rewrite], ...] = (
    (
        # A birthday does not move with the rest: it goes.
        re.compile(
            r"(?<![^\W_])(?P<lead>(?:d\.?o\.?b\.?|date of birth|born(?: on)?|birth ?date|geb(?:\.|oren(?: am)?)|geburtsdatum)\s*:?\s*)"
            r"(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{8}|[^\W\d_]{3,9}\.? \d{1,2},? \d{4}|\d{1,2}\.? ?-?[^\W\d_]{3,9}\.?[ -]\d{4})(?!\d)",
            re.IGNORECASE,
        ),
        _gone,
    ),
    (_compile(rf"{_YEAR}(?P<gap>[-/.])(?P<m>0?[1-9]|1[0-2])(?P=gap)(?P<d>0?[1-9]|[12]\d|3[01])(?:(?=T\d))?"), _year_first),
    (
        re.compile(rf"(?<![\w.-]){_YEAR}(?P<gap>)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])(?=\d{{0,6}}(?:\.\d+)?(?![\w-]))"),
        _year_first,
    ),
    (re.compile(rf"(?<![\w.-]){_YEAR}(?P<gap>-)(?P<m>0[1-9]|1[0-2])-(?P<d>0[1-9]|[12]\d|3[01])(?=T\d)"), _year_first),
    (_compile(r"(?P<a>\d{1,2})(?P<gap>[./-])(?P<b>\d{1,2})(?P=gap)(?P<y>(?:19|20)\d{2}|\d{2})(?!\s*(?:mm|cm)\b)"), _numeric),
    (_compile(rf"{_WORD_DAY}(?:\s|-|/|\sof\s)?{_MONTH}(?:\s|-|/|,\s?)?(?P<year>(?:19|20)\d{{2}}|(?<=[-/])\d{{2}})"), _in_words),
    (_compile(rf"{_MONTH}\s{_WORD_DAY},?\s{_YEAR}"), _in_words),
    (_compile(rf"{_MONTH}(?P<gap>,?\s){_YEAR}"), _month_and_year),
    (_compile(rf"(?P<m>0?[1-9]|1[0-2])/{_YEAR}"), _numeric_month),
    (
        re.compile(rf"(?<![^\W_])(?P<lead>(?:in|since|from|until|till|year|dated|of|seit|Jahr)\s){_YEAR}(?![\w/-]|\.\d)", re.IGNORECASE),
        _year_alone,
    ),
    (
        # A day without a year cannot be moved.
        re.compile(
            r"(?<![^\W_])(?P<lead>(?:on|dated|since|from|of|am|vom)\s)(?:(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])"
            rf"|(?:{_NAMES})\.?\s\d{{1,2}}(?:st|nd|rd|th)?|\d{{1,2}}\.\d{{1,2}}\.)(?![\w/]|\.\d|,?\s(?:19|20)\d\d)",
            re.IGNORECASE,
        ),
        _gone,
    ),
)
"""Patterns and how what they find is written anew; overlapping findings are settled by the caller."""
