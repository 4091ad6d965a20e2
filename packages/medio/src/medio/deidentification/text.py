"""Free text without identity: reports, descriptions and the text of structured reports.

Rules, no model: known identifiers first, then what the context tells (a title before a name, a label before a number). A name that is neither known nor
introduced by anything stays; give the names of the patient and of the staff wherever they are known.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

from medio.deidentification.identifiers import Identifiers
from medio.deidentification.policy import Policy
from medio.deidentification.text_dates import DATE_RULES, Replaced

_TITLE = r"(?:Drs?|DR|Doctor|Prof|PROF|Professor|Mr|Mrs|MRS|Ms|Miss|Herrn?|Frau|Mme)"
_PARTICLE = r"(?:(?:van|von|der|den|de|la|del|da|di|le|bin|al|ten|zu)\ )"
# A word before a colon is a heading, not a name.
_NOT_NAME = rf"(?!{_TITLE}\b|M\.?D\b|[^\W\d]{{1,24}}(?:\ [^\W\d]{{1,24}}){{0,2}}\ ?:(?!\d))"
_MIXED = rf"(?:{_NOT_NAME}[A-ZÀ-ÖØ-Þ](?:['’][A-ZÀ-ÖØ-Þ])?[^\W\d_A-ZÀ-ÖØ-Þ][^\W\d_]{{0,30}}(?:['’-][^\W\d_]{{1,30}}){{0,3}})"
_UPPER = rf"(?:{_NOT_NAME}[A-ZÀ-ÖØ-Þ]['’]?[A-ZÀ-ÖØ-Þ]{{1,30}}(?:['’-][A-ZÀ-ÖØ-Þ]{{1,30}}){{0,3}}(?![^\W_]))"
_NAME = rf"(?:{_MIXED}|{_UPPER})"
_INITIAL = r"(?:[A-ZÀ-ÖØ-Þ]\.(?!\ ?D\b))"
_NAMES = (
    rf"(?:{_PARTICLE}{{0,2}}{_MIXED}(?:,\ {_MIXED})?(?:\ (?:{_INITIAL}|{_PARTICLE}{{0,2}}{_MIXED}|{_UPPER}(?=,))){{0,3}}"
    rf"|{_UPPER}(?:,\ {_UPPER})?(?:\ (?:{_INITIAL}|{_UPPER})){{0,2}})"
)
_LED_NAMES = rf"(?:{_INITIAL}\ ?){{0,3}}{_NAMES}"
_DEGREE = r"(?:M\.?D\.?|D\.?O\.?|Ph\.?D\.?|FRCR|FACR|MBBS|R\.?N\.?|PA-C|N\.?P\.?|R\.?T\.?(?:\(R\))?)"
_BY = (
    r"(?i:dictated|transcribed|signed|authenticated|read|reviewed|approved|interpreted|verified|reported|performed|requested|ordered|discussed|communicated"
    r"|conveyed|relayed|given|called|reported|telephoned|faxed|referred|seen|cosigned|co-signed|finali[sz]ed|prepared|attested)"
)
_ROLE = (
    r"(?i:referring\ (?:physician|provider|doctor|clinician)|attending(?:\ (?:physician|radiologist))?|ordering\ (?:physician|provider)|radiologist"
    r"|resident|fellow|technologist|sonographer|physician|surgeon|operator|dictator|transcriptionist|patient(?:'s)?(?:\ name)?|name|surname|first\ name"
    r"|last\ name|author|clinician|consultant|provider)"
)
_HOSPITAL = (
    r"(?:Hospitals?|HOSPITAL|Medical\ (?:Cent(?:er|re)|Group|Associates|Practice)|MEDICAL\ CENT(?:ER|RE)|Clinics?|CLINIC|Health\ (?:System|Cent(?:er|re)"
    r"|Services?|Network)|Healthcare|Infirmary|Sanatorium|Hospice|Klinikum|Krankenhaus|Universitätsklinikum|Hôpital|Imaging(?:\ Cent(?:er|re))?"
    r"|Radiology\ (?:Associates|Group|Partners|Consultants)|Nursing\ Home|University|Universität)"
)
_LABEL = (
    r"(?i:mrn?\#?|m\.r\.n\.|med(?:ical)?\.?\ ?rec(?:ord)?\.?(?:\ ?(?:number|no\.?|num|\#))?|accession(?:\ ?(?:number|no\.?|num|\#))?|acc(?:\.|\#|\ ?no\.?|\ ?num)"
    r"|patient\ ?id(?:entifier)?|pat\.?\ ?id|case(?:\ ?(?:number|no\.?|\#))|order(?:\ ?(?:number|no\.?|\#))|(?:visit|encounter|account|acct|chart|exam|study|request"
    r"|insurance|policy|member|license|licence|specimen|nhs|ssn|social\ security|device|serial)(?:\ ?(?:number|no\.?|num|id|\#))|ssn|fin|csn|nhs|dob\#)"
)
_STREET = r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Parkway|Pkwy|Highway|Hwy|Crescent|Close|Drive|Dr)\b\.?"
_STATE = r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])"  # codespell:ignore

# (kind, pattern, number of the group that goes; 0: all of it). Every repetition is bounded, so that no text takes more than linear time.
_RULES: tuple[tuple[str, str, int], ...] = (
    ("contact", r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}", 0),
    ("contact", r"(?i:https?://|ftp://|www\.)[^\s<>\"')\]]+", 0),
    ("contact", r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", 0),
    ("id", r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)", 0),
    ("id", rf"(?<![^\W_]){_LABEL}\s*(?:[:#=]|is\b)?\s*([A-Z0-9][A-Za-z0-9-]{{0,40}}\d[A-Za-z0-9-]{{0,40}})", 1),
    ("phone", r"(?<![\w.])(?:\+?1[\s.-]?)?\(\d{3}\)\s?\d{3}[\s.-]?\d{4}(?:\s*(?i:ext?\.?|x)\s*\d{1,6})?(?!\d)", 0),
    ("phone", r"(?<![\w.-])(?:\+?1[\s.-])?\d{3}[\s.-]\d{3}[\s.-]\d{4}(?:\s*(?i:ext?\.?|x)\s*\d{1,6})?(?![\w-])", 0),
    ("phone", r"(?<!\w)\+\d{1,3}[\s./-]?(?:\(0\)\s?)?\d{1,5}(?:[\s./-]?\d{2,5}){1,4}(?!\d)", 0),
    (
        "phone",
        r"(?<![^\W_])(?i:tel(?:ephone)?|phone|fax|pager|beeper|mobile|cell|ext(?:ension)?|call(?:\ back)?)"
        r"(?:\ ?(?:number|no\.?|\#))?\s*[.:#]?\s*((?:at\ )?\+?\(?\d[\d\s()./-]{2,18}\d)",
        1,
    ),
    ("place", rf"(?<!\w)\d{{1,5}}[A-Za-z]?\ (?:[NSEW]\.?\ )?(?:{_NAME}\ ){{1,4}}{_STREET}(?:,?\ (?:Apt|Suite|Ste|Unit|\#)\.?\ ?\w+)?", 0),
    ("place", r"(?<!\w)[A-ZÄÖÜ][a-zäöüß]{1,40}(?:straße|strasse|str\.|weg|platz|gasse|allee)\ \d{1,4}[a-z]?(?!\w)", 0),
    ("place", r"(?<!\w)(?i:p\.?\ ?o\.?\ box)\ \d+", 0),
    ("place", rf"(?:(?:{_NAME}\ ){{0,2}}{_NAME},\ )?(?<![^\W_]){_STATE},?\ \d{{5}}(?:-\d{{4}})?(?!\d)", 0),
    ("place", r"(?<![\d.-])\d{5}-\d{4}(?![\d-])", 0),
    ("place", r"(?<![^\W_])(?i:zip|postal|plz)(?i:\ ?code)?\s*:?\s*([A-Z0-9]{3,5}(?:[ -][A-Z0-9]{3,4})?)(?!\w)", 1),
    (
        "place",
        rf"(?<![^\W_])(?!(?:From|At|In|To|The|By|With|Transferred)\b)(?:(?:St\.|{_NAME}|&|of)\ ){{1,5}}{_HOSPITAL}(?:\ (?:of|at|and)\ (?:the\ )?{_NAME}(?:\ {_NAME})?)?(?![^\W_])",
        0,
    ),
    (
        "place",
        rf"(?<![^\W_])(?:Hospital|Clinic|Klinikum|Krankenhaus|Klinik|Hôpital|Hospital\ Universitario|Ospedale|University)"
        rf"\ (?:of|der|de|des|am|im|St\.?|di)\ (?:{_NAME}\ ){{0,2}}{_NAME}",
        0,
    ),
    ("name", rf"(?<![^\W_]){_TITLE}\b\.?\ ({_LED_NAMES})", 1),
    ("name", rf"(?<![^\W_])({_LED_NAMES}),?\ {_DEGREE}(?![^\W_])", 1),
    ("name", rf"(?<![^\W_]){_BY}\ (?i:by|to|with|for)\s*:?\s*(?:{_TITLE}\b\.?\ )?({_LED_NAMES})", 1),
    ("name", rf"(?<![^\W_]){_BY}(?i:\ by)?\s*:\s*(?:{_TITLE}\b\.?\ )?({_LED_NAMES})", 1),
    ("name", rf"(?<![^\W_]){_ROLE}\s*:\s*(?:{_TITLE}\b\.?\ )?({_LED_NAMES})", 1),
    ("id", r"(?<![\w.])\d{7,}(?![\w]|\.\d)", 0),
    ("id", r"(?<![\w.-])(?=[A-Z0-9-]{0,40}\d{5})(?=[0-9-]{0,40}[A-Z])[A-Z0-9-]{1,80}(?![\w-])", 0),
)
_COMPILED = tuple((kind, re.compile(pattern.replace(r"\ ", "[ \t]")), group) for kind, pattern, group in _RULES)
_OLD = re.compile(
    r"(?<![\d.])(9\d|1[0-3]\d)(?=(?:[\s-]*(?:years?|yrs?|y)\b|[\s-]*y[./]?\s?o\b|[\s-]?[MF]\b(?!\w)|[\s-]*jährig))", re.IGNORECASE
)
_AGED = re.compile(r"(?i)(?<![^\W_])(?:aged?|age:)\s*(9\d|1[0-3]\d)(?![\d.]|\s*%)")
_TOKENS = {"name": "[NAME]", "number": "[ID]", "id": "[ID]", "place": "[PLACE]", "phone": "[PHONE]", "contact": "[CONTACT]", "age": "90+"}


@dataclass(frozen=True)
class TextEntry:
    """One change to a text; it holds no value.

    Attributes:
        kind: `name`, `id`, `place`, `phone`, `contact`, `age` or `date`.
        start: where it stood in the original.
        end: where it ended.
        action: `removed`, or `shifted` for dates.
    """

    kind: str
    start: int
    end: int
    action: str


def scrub_text(text: str, *, policy: Policy, patient: str, identifiers: Identifiers | Iterable[str] = ()) -> tuple[str, list[TextEntry]]:
    """Take identity out of free text and move its dates with the patient's other dates.

    Found: the known identifiers in any case, with or without accents, hyphens and padding; dates in the usual forms, also German ones; telephone
    numbers, addresses of mail and web; numbers after a label (MRN, accession) and long numbers; addresses and postal codes; ages above 89; names after a
    title, before a degree or after words such as `dictated by`; names of hospitals. Left alone: measurements, levels of the spine, sequences, scores.

    Args:
        text: of any length, one language or mixed; English and German contexts are known.
        policy: key and what becomes of dates.
        patient: the PatientID, so that dates move as far as in the patient's images; or what `identity` gives (`id:…`, `study:…`).
        identifiers: what is known of the patient and the staff; plain strings are taken as names where they hold no digit, else as numbers.

    Returns:
        The text with tokens such as `[NAME]` in place of what went, and the list of changes in order.
    """
    known = identifiers if isinstance(identifiers, Identifiers) else _from_strings(identifiers)
    who = patient if patient.startswith(("id:", "study:")) else f"id:{patient.strip()}"
    found: list[tuple[int, int, str, str]] = [(start, end, kind, _TOKENS[kind]) for start, end, kind in known.find(text, shortest_name=2)]
    for kind, pattern, group in _COMPILED:
        found += [(*match.span(group), kind, _TOKENS[kind]) for match in pattern.finditer(text)]
    for pattern in (_OLD, _AGED):
        found += [(*match.span(1), "age", _TOKENS["age"]) for match in pattern.finditer(text)]

    def move(day: date) -> date | None:
        return None if day in known.births else policy.shift(day, who)

    if policy.dates != "keep":
        found += _dates(text, move, policy.day_first)
    elif known.births:
        # Nothing moves, but a day of birth goes, whichever way it may be read.
        found += [item for first in (True, False) for item in _dates(text, move, first) if item[3] == "[DATE]"]
    return _apply(text, found)


def _from_strings(strings: Iterable[str]) -> Identifiers:
    given = [s for s in strings if s.strip()]
    return Identifiers.named(
        names=[s for s in given if not re.search(r"\d", s)],
        numbers=[s for s in given if re.search(r"\d", s)],
    )


def _dates(text: str, move: Callable[[date], date | None], day_first: bool | None) -> list[tuple[int, int, str, str]]:
    found = []
    for pattern, rewrite in DATE_RULES:
        for match in pattern.finditer(text):
            new: Replaced = rewrite(match, move, day_first)
            if new is not None and new != match.group():
                found.append((*match.span(), "date", new or "[DATE]"))
    return found


def _apply(text: str, found: list[tuple[int, int, str, str]]) -> tuple[str, list[TextEntry]]:
    """Where findings overlap, the longest says what it is, and all of them go."""
    merged: list[list[tuple[int, int, str, str]]] = []
    for item in sorted(found, key=lambda f: (f[0], -f[1])):
        if item[0] >= item[1]:
            continue
        if merged and item[0] < max(f[1] for f in merged[-1]):
            merged[-1].append(item)
        else:
            merged.append([item])
    out, entries, at = [], [], 0
    for group in merged:
        start, end = group[0][0], max(f[1] for f in group)
        first, last, kind, token = max(group, key=lambda f: (f[1] - f[0], f[2] == "date"))
        if kind == "date" and (first, last) != (start, end):
            token = "[DATE]"  # a shifted date must not stand for more than itself
        out += [text[at:start], token]
        shifted = kind == "date" and "[DATE]" not in token
        entries.append(TextEntry("id" if kind == "number" else kind, start, end, "shifted" if shifted else "removed"))
        at = end
    return "".join([*out, text[at:]]), entries
