"""What the verbs share: progress, what was set aside, and why."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medrun.cli import progress, table

if TYPE_CHECKING:
    from medio import Quarantined

Workers = Annotated[int, typer.Option(min=1, help="Processes to work in; 1 stays in this one.")]
Rejected = Annotated[
    Path | None,
    typer.Option(help="CSV for what could not be used, with the reason. It names source files: keep it where those may be named."),
]


@contextmanager
def counted(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress for work that says (done, total); the bar opens with the first word."""
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None
        before = 0

        def count(done: int, total: int) -> None:
            nonlocal advance, before
            if advance is None:
                advance = stack.enter_context(progress(total, description))
            advance(done - before)
            before = done

        yield count


def reject(items: "Sequence[Quarantined]", path: Path | None) -> None:
    """Say why inputs were set aside, and list them in a CSV where one is asked for."""
    say_reasons(Counter(item.reason for item in items))
    if path is not None:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("item", "reason"), *((item.item, item.reason) for item in items)])


def say_reasons(reasons: Counter[str]) -> None:
    """Print how often each reason was given, the most frequent first."""
    if reasons:
        rows = [(count, reason) for reason, count in reasons.most_common(20)]
        if len(reasons) > 20:
            rows.append((sum(reasons.values()) - sum(count for count, _ in rows), "other reasons"))
        table("set aside", rows, columns=("files", "why"))
