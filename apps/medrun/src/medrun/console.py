"""What a command says: lines, a progress bar or progress lines, a table. Silent on ranks other than 0."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from medrun.cpu import is_main_process


class Advance(Protocol):
    """Reports that work is done."""

    def __call__(self, n: int = 1, note: str = "") -> None:
        """Count n more units; the note (e.g. the loss) stands beside the bar."""
        ...


def say(*lines: object) -> None:
    """Print lines to standard output as they are."""
    if is_main_process():
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def table(title: str, rows: Sequence[Sequence[object]], columns: Sequence[str] = ()) -> None:
    """Print a table; columns name its head, none where empty."""
    if not is_main_process():
        return
    width = max((len(row) for row in rows), default=len(columns))
    grid = Table(title=title, title_justify="left", show_header=bool(columns))
    for i in range(width):
        grid.add_column(columns[i] if i < len(columns) else "")
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    console = Console(file=sys.stdout, highlight=False, markup=False)
    # A log has no width: fold nothing there.
    console.print(grid, soft_wrap=not console.is_terminal)


@contextmanager
def progress(total: int | None, description: str, *, start: int = 0) -> Iterator[Advance]:
    """Show progress on standard error: a bar on a terminal, else a plain line at every tenth of the way (and every 30 s).

    Args:
        total: units of work, None where unknown.
        description: what is done.
        start: units already done, e.g. by the run that this one resumes.

    Yields:
        advance(n=1, note="").
    """
    if not is_main_process():
        yield _silent
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total, completed=start, note="")

            def advance(n: int = 1, note: str = "") -> None:
                if note:
                    bar.update(task, advance=n, note=note)
                else:
                    bar.update(task, advance=n)

            yield advance
    else:
        yield _Lines(total, description, start)


class _Rate(ProgressColumn):
    """Units a second, as the lines of a log give it."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s")


def _silent(n: int = 1, note: str = "") -> None:
    """Progress of a rank that does not speak."""


class _Lines:
    """Progress for logs: one line at each tenth, or after 30 s without one."""

    interval_s = 30.0

    def __init__(self, total: int | None, description: str, start: int) -> None:
        self.total, self.description, self.done, self.start = total, description, start, start
        self.began = self.spoken_at = time.monotonic()
        self.tenth = self._tenth()

    def __call__(self, n: int = 1, note: str = "") -> None:
        self.done += n
        now = time.monotonic()
        tenth = self._tenth()
        if tenth == self.tenth and now - self.spoken_at < self.interval_s:
            return
        self.tenth, self.spoken_at = tenth, now
        elapsed = now - self.began
        rate = (self.done - self.start) / elapsed if elapsed > 0 else 0.0
        of = str(self.done) if not self.total else f"{self.done}/{self.total} ({100 * self.done // self.total} %)"
        left = f", {_clock((self.total - self.done) / rate)} left" if self.total and rate > 0 and self.done < self.total else ""
        sys.stderr.write(f"{self.description}: {of}{f', {note}' if note else ''}, {rate:.3g}/s{left}\n")
        sys.stderr.flush()

    def _tenth(self) -> int:
        return 10 * self.done // self.total if self.total else 0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
