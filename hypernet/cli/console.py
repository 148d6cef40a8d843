"""Output to the terminal: results to stdout, everything else to stderr. No file can forge any of it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import typer
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from hypernet.cli.hints import pip_install
from hypernet.errors import HypernetError
from hypernet.text import printable

_WIDE = 1000  # columns; in a pipe or a file nothing may be cut off
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_FOR_PICTURES = {"diffusers": "diffusers", "transformers": "transformers", "accelerate": "accelerate", "PIL": "pillow"}
"""Module -> the package that has it: what drawing needs."""


def clean(text: object) -> str:
    """The text in one line, without control or direction characters. Strangers wrote the names and notes in files."""
    return printable(" ".join(str(text).split("\n")))


def table(*columns: str, rows: Iterable[tuple[object, ...]]) -> Table:
    """A plain table. No cell is read as markup or cut off. A column whose name begins with `>` is right-aligned."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        side: JustifyMethod = "right" if column.startswith(">") else "left"
        made.add_column(column.removeprefix(">"), justify=side, overflow="fold")
    for row in rows:
        made.add_row(*(Text(clean(cell)) for cell in row))
    return made


def show_json(content: Any) -> None:
    """Prints JSON in ASCII, which is safe on any terminal."""
    print(json.dumps(content, indent=2))


def note(text: str) -> None:
    """Says something beside the result, on stderr."""
    err.print(Text("Note: ", style="yellow") + Text(clean(text)))


def fail(text: str) -> typer.Exit:
    """Prints an error. Raise what it returns."""
    err.print(Text(clean(text), style="red"))
    return typer.Exit(1)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner on a terminal, for as long as the block takes."""
    with err.status(Text(clean(text))) if err.is_terminal else nullcontext():
        yield


@contextmanager
def counting(text: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr. Gives a function to call after each of the `total` steps."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def copying(text: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """A bar on stderr for bytes. Gives a function of their total, which gives one of the number just copied."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:

        def begin(total: int) -> Callable[[int], None]:
            task = progress.add_task(clean(text), total=total)
            return lambda done: progress.advance(task, done)

        yield begin


class _Notes(logging.Handler):
    """Prints the package's log messages as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


class Commands(TyperGroup):
    """Ends with one sentence and exit code 1 on an error that a user can act on."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
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
            if error.name not in _FOR_PICTURES:
                raise
            needed = pip_install(*_FOR_PICTURES.values())
            raise fail(f"This command needs {error.name}: {needed}") from error
        finally:
            log.removeHandler(handler)
