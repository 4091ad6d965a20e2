"""Ways of writing the same claims: from full sentences to notes."""

from dataclasses import dataclass

from medphantom.errors import PhantomError


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How one kind of reader writes. Every text but the headings is a template of `grammar.express`.

    Attributes:
        name: of the style.
        headings: of technique, findings, comparison and impression.
        order: of the sections.
        present: a finding that is there; slots `a` (with its article), `np` (without), `where`, `size`.
        uncertain: a finding that may be there; the same slots.
        absent: kinds that are not there; slot `none` (`pleural effusion or pneumothorax`).
        changes: a finding against the prior, by the change; slots `the`, `where`, `size`, `to`.
        size: its measure; slot `mm`.
        layout: `prose`, one paragraph; `list`, numbered lines; `regions`, a line a region of the body.
        short: whether lobes, sides and kinds are abbreviated.
        centimetres: whether lengths are given in cm.
        normal: what is said in the impression where nothing is there.
    """

    name: str
    headings: tuple[str, str, str, str]
    order: tuple[str, ...] = ("technique", "comparison", "findings", "impression")
    present: str
    uncertain: str
    absent: str
    changes: tuple[str, str, str, str, str]
    size: str
    layout: str = "prose"
    short: bool = False
    centimetres: bool = False
    normal: str


_CHANGES = (
    "[{the}{where} is new|{the}{where} was not there before].",
    "{the}{where} [has grown|is larger|has increased in size]{to}.",
    "{the}{where} [has shrunk|is smaller|has decreased in size]{to}.",
    "{the}{where} is [unchanged|stable].",
    "{the}{where} [has resolved|is no longer seen].",
)
_CAPITALS = ("TECHNIQUE", "FINDINGS", "COMPARISON", "IMPRESSION")

STYLES = {
    style.name: style
    for style in (
        Style(
            name="prose",
            headings=_CAPITALS,
            present="[There is {a}{where}{size}|{a}{where} is [seen|present]{size}].",
            uncertain="[There is possibly {a}{where}{size}|{a}{where}{size} cannot be excluded|Possible {np}{where}{size}].",
            absent="[There is no {none}|No {none} is seen|No evidence of {none}].",
            changes=_CHANGES,
            size=", [measuring|of] {mm}",
            normal="Normal [examination|study].",
        ),
        Style(
            name="formal",
            headings=("Technique", "Findings", "Comparison with the prior", "Conclusion"),
            order=("technique", "findings", "comparison", "impression"),
            present="[The examination demonstrates {a}{where}{size}|{a}{where}{size} is demonstrated|Note is made of {a}{where}{size}].",
            uncertain="[The appearances may represent {a}{where}{size}|{a}{where}{size} is suspected but cannot be confirmed].",
            absent="[{none} is not demonstrated|There are no signs of {none}].",
            changes=(
                "{the}{where} has appeared since the prior examination.",
                "[Interval growth of {the}{where}{to}|{the}{where} shows an interval increase{to}].",
                "[Interval regression of {the}{where}{to}|{the}{where} shows an interval decrease{to}].",
                "{the}{where} shows no relevant change.",
                "{the}{where} has resolved in the interval.",
            ),
            size=" with a maximum axial diameter of {mm}",
            normal="No relevant abnormality.",
        ),
        Style(
            name="telegraphic",
            headings=("Tech", "Find", "Comp", "Imp"),
            present="{np}{where}{size}.",
            uncertain="[?|Possible ]{np}{where}{size}.",
            absent="No {none}.",
            changes=(
                "{np}{where}: new.",
                "{np}{where}: [bigger|up]{to}.",
                "{np}{where}: [smaller|down]{to}.",
                "{np}{where}: [stable|unchanged].",
                "{np}{where}: [gone|resolved].",
            ),
            size=" {mm}",
            short=True,
            normal="NAD.",
        ),
        Style(
            name="structured",
            headings=_CAPITALS,
            order=("technique", "comparison", "impression", "findings"),
            present="{np}{where}{size}.",
            uncertain="[Possible|Questionable] {np}{where}{size}.",
            absent="No {none}.",
            changes=_CHANGES,
            size=" ({mm})",
            layout="regions",
            normal="No acute [finding|abnormality].",
        ),
        Style(
            name="numbered",
            headings=_CAPITALS,
            order=("technique", "findings", "comparison", "impression"),
            present="{np}{where}{size}.",
            uncertain="[Suspected|Possible] {np}{where}{size}.",
            absent="[No|Absence of] {none}.",
            changes=_CHANGES,
            size=", {mm}",
            layout="list",
            normal="Unremarkable.",
        ),
        Style(
            name="conclusion_first",
            headings=("METHOD", "DETAILS", "CHANGES", "SUMMARY"),
            order=("impression", "technique", "findings", "comparison"),
            present="[We see {a}{where}{size}|{a}{where}{size}].",
            uncertain="[We cannot exclude {a}{where}{size}|Perhaps {a}{where}{size}].",
            absent="[We see no {none}|{none}: none].",
            changes=_CHANGES,
            size=" [across|of] {mm}",
            centimetres=True,
            normal="[Nothing to report|All clear].",
        ),
    )
}
"""The styles by name."""


def style_of(name: str) -> Style:
    """Find a style.

    Raises:
        PhantomError: for an unknown name.
    """
    if name not in STYLES:
        raise PhantomError(f"report style {name!r} is not known; use one of {', '.join(STYLES)}")
    return STYLES[name]
