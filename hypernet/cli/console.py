"""What reaches the terminal: results on stdout, everything else on stderr, and nothing that a file could forge."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import typer
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from hypernet.errors import HypernetError
from hypernet.text import printable

_WIDE = 1000  # columns in a pipe or a file, where nothing may be cut off
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_OUR_EXTRAS = ("diffusers", "transformers", "PIL", "accelerate")


def clean(text: object) -> str:
    """One line without control or direction characters: names and notes in files come from strangers."""
    return printable(" ".join(str(text).split("\n")))


def table(*columns: str, rows: Iterable[tuple[object, ...]]) -> Table:
    """A plain table; no cell is read as markup or cut off. Columns that begin with `>` are right-aligned."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        side: JustifyMethod = "right" if column.startswith(">") else "left"
        made.add_column(column.removeprefix(">"), justify=side, overflow="fold")
    for row in rows:
        made.add_row(*(Text(clean(cell)) for cell in row))
    return made


def show_json(content: Any) -> None:
    """Escapes everything outside ASCII, so that it is safe on a terminal as well."""
    print(json.dumps(content, indent=2))


def note(text: str) -> None:
    err.print(Text("Note: ", style="yellow") + Text(clean(text)))


def fail(text: str) -> typer.Exit:
    """Says it in red; to be raised."""
    err.print(Text(clean(text), style="red"))
    return typer.Exit(1)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner while something takes its time; nothing where nobody watches."""
    with err.status(Text(clean(text))) if err.is_terminal else nullcontext():
        yield


@contextmanager
def copying(text: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """A bar on stderr for bytes: what it gives is called with how many there are, and gives what counts them."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:

        def begin(total: int) -> Callable[[int], None]:
            task = progress.add_task(clean(text), total=total)
            return lambda done: progress.advance(task, done)

        yield begin


class _Notes(logging.Handler):
    """Shows what the package logs."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


class Commands(TyperGroup):
    """Turns errors that a user can understand into one sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        log = logging.getLogger("hypernet")
        handler = _Notes(logging.WARNING)
        log.addHandler(handler)
        try:
            return super().invoke(ctx)
        except HypernetError as error:
            raise fail(str(error)) from error
        except OSError as error:
            raise fail(f"{error.filename or 'The system'}: {error.strerror or error}.") from error
        except ModuleNotFoundError as error:
            if error.name not in _OUR_EXTRAS:
                raise
            raise fail(f"This command needs {error.name}: pip install 'hypernet[diffusers]'.") from error
        finally:
            log.removeHandler(handler)
