"""Win criteria: what a version must reach before an alias may point at it, by intervals and not by luck."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Figures = Mapping[str, Mapping[str, float | None]]
"""Metric name -> `{"value", "low", "high", "n"}`."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One thing a version must show.

    Attributes:
        metric: name of the figure, e.g. `dice`.
        better: whether more or less of it is better.
        at_least: the pessimistic end of the interval must reach this (`low` where more is better, `high` where less is); None asks for nothing.
        margin: how much worse than the current version it may be: the pessimistic end of this version's interval must not be worse than the current
            version's value by more than this; None does not compare.
    """

    metric: str
    better: Literal["more", "less"] = "more"
    at_least: float | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        if self.better not in ("more", "less"):
            raise ValueError(f"{self.metric}: better must be more or less, got {self.better!r}")
        if self.at_least is None and self.margin is None:
            raise ValueError(f"{self.metric}: a criterion needs at_least or margin")
        if self.margin is not None and self.margin < 0:
            raise ValueError(f"{self.metric}: margin must not be negative, got {self.margin}")

    @classmethod
    def parse(cls, text: str) -> "Criterion":
        """Read `dice>=0.85`, `hd95_mm<=10`, `dice within 0.01` or `hd95_mm within 2 less`.

        Raises:
            ValueError: for any other form.
        """
        for sign, better in ((">=", "more"), ("<=", "less")):
            metric, found, number = text.partition(sign)
            if found:
                return cls(metric=metric.strip(), better=better, at_least=_number(number, text))  # type: ignore[arg-type]
        words = text.split()
        if len(words) in (3, 4) and words[1] == "within":
            better = words[3] if len(words) == 4 else "more"
            return cls(metric=words[0], better=better, margin=_number(words[2], text))  # type: ignore[arg-type]
        raise ValueError(
            f"cannot read the criterion {text!r}; write dice>=0.85, hd95_mm<=10, 'dice within 0.01' or 'hd95_mm within 2 less'"
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a version may be promoted, and why not.

    Attributes:
        passed: every criterion is met.
        refusals: one line for each that is not.
        lines: one line for each criterion.
    """

    passed: bool
    refusals: tuple[str, ...]
    lines: tuple[str, ...]


def judge(criteria: Sequence[Criterion], candidate: Figures, current: Figures | None = None) -> Verdict:
    """Hold a version's figures to the criteria.

    Args:
        criteria: at least one.
        candidate: figures of the version that wants the alias.
        current: figures of the version that has it; None where none has, and comparisons then pass.

    Returns:
        The verdict. A figure that is missing, or has no interval, is a refusal: what was not measured was not shown.

    Raises:
        ValueError: for no criteria.
    """
    if not criteria:
        raise ValueError("promotion needs at least one criterion; nothing would be shown otherwise")
    refusals: list[str] = []
    lines: list[str] = []
    for criterion in criteria:
        refusal, line = _judge_one(criterion, candidate, current)
        lines.append(line)
        refusals += [refusal] if refusal else []
    return Verdict(not refusals, tuple(refusals), tuple(lines))


def _judge_one(criterion: Criterion, candidate: Figures, current: Figures | None) -> tuple[str, str]:
    name, more = criterion.metric, criterion.better == "more"
    end = "low" if more else "high"
    figure = candidate.get(name)
    if figure is None:
        text = f"{name}: not measured; evaluate it first (there are {', '.join(candidate) or 'no figures'})"
        return text, text
    bound = figure.get(end)
    if bound is None or bound != bound:
        text = f"{name}: has no interval; evaluate it with patients"
        return text, text
    shown = f"{name} {_short(figure.get('value'))} [{_short(figure.get('low'))}, {_short(figure.get('high'))}]"
    if criterion.at_least is not None and (bound < criterion.at_least if more else bound > criterion.at_least):
        text = f"{shown}: the interval's {end} end {_short(bound)} is {'below' if more else 'above'} {criterion.at_least:g}"
        return text, text
    if criterion.margin is not None and current is not None:
        before = (current.get(name) or {}).get("value")
        if before is None:
            text = f"{shown}: the current version has no {name} to compare with; register it with that figure"
            return text, text
        worst = before - criterion.margin if more else before + criterion.margin
        if bound < worst if more else bound > worst:
            text = f"{shown}: may be worse than the current {_short(before)} by more than {criterion.margin:g} (its {end} end is {_short(bound)})"
            return text, text
    return "", f"{shown}: met"


def _short(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4g}"


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"cannot read the criterion {whole!r}: {text.strip()!r} is no number") from error
