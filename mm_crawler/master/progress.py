"""How far a scan is, for a person at a terminal: count, rate, and an estimate where the tree was scanned before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from mm_crawler.master.scanned import ScannedDirectory

_STEP = 100  # directories between two updates


class _Rate(ProgressColumn):
    """Directories per second."""

    def render(self, task: Task) -> Text:
        """The rate as text."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def shown(name: str, known: int, console: Console | None = None) -> Iterator[Callable[[ScannedDirectory], None]]:
    """What is to be told each directory; `known` of them were there at the last scan. Silent without a terminal."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda _directory: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=known or None)
        seen = count(1)

        def step(_directory: ScannedDirectory) -> None:
            if (number := next(seen)) % _STEP == 0:
                bar.update(task, completed=number, total=max(number, known) if known else None)

        yield step
