"""What a report says, as data: one statement a claim, with the place in the text that makes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

HEADING = "SYNTHETIC PHANTOM REPORT, not of a real patient."
"""First line of every report."""

Status = Literal["present", "absent", "uncertain"]
Change = Literal["new", "larger", "smaller", "stable", "resolved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One claim of a report.

    Attributes:
        finding: kind of finding.
        status: `uncertain` is said only of what is truly there; what is not there is `absent` or not spoken of.
        side: `left`, `right`, `both`, or None where the text names none.
        lobe: such as `right_upper`, or None where the text names none.
        measure_mm: the diameter that the text states: the truth's, to the nearest mm; None where it states none.
        change: against the prior, or None where the text compares nothing.
        tracking_id: the truth's; empty where the statement is of the kind as a whole.
        span: (start, end) in the text of the sentence that says so.
    """

    finding: str
    status: Status
    side: str | None = None
    lobe: str | None = None
    measure_mm: int | None = None
    change: Change | None = None
    tracking_id: str = ""
    span: tuple[int, int] = (0, 0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "finding": self.finding,
            "status": self.status,
            "side": self.side,
            "lobe": self.lobe,
            "measure_mm": self.measure_mm,
            "change": self.change,
            "tracking_id": self.tracking_id,
            "span": list(self.span),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A synthetic report.

    Attributes:
        text: all of it; its first line says that it is synthetic.
        style: name of the style it is written in.
        sections: name (`technique`, `findings`, `comparison`, `impression`) to (start, end) of its body in the text, in the text's order.
        statements: every claim about a finding, in the text's order.
    """

    text: str
    style: str
    sections: Mapping[str, tuple[int, int]]
    statements: tuple[Statement, ...]

    def section(self, name: str) -> str:
        """Body of a section; empty where the report has none of that name."""
        start, end = self.sections.get(name, (0, 0))
        return self.text[start:end]

    def said(self, statement: Statement) -> str:
        """The sentence that makes a statement."""
        return self.text[slice(*statement.span)]
