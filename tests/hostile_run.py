"""Loads every file of a folder in its own process and prints what each did, as JSON: name -> `Outcome`'s fields.

    python hostile_run.py FOLDER

An audit hook sees what Python does at the time: any import, any start of a program, any file opened but the one that is
read, and anything else that is not on its short list is reported.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import hypernet
from hypernet.files import peek

HARMLESS = ("open", "mmap.__new__", "object.__getattr__", "object.__setattr__", "builtins.id", "gc.")
"""Audit events of reading itself. For `open`, see `watch`."""


@dataclass
class Outcome:
    """What a file did."""

    error: str
    """The type of what `load` raised."""
    peeked: str
    """The type of what `peek` raised."""
    problem: str
    seconds: float
    """Of the processor, for `load`."""
    grown: int
    """Bytes of memory, at the peak."""
    events: list[str]


watched: Path | None = None
events: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if watched is None or (event == "open" and str(arguments[0]) == str(watched)):
        return
    if event == "open" or not event.startswith(HARMLESS):
        events.append(f"{event} {arguments!r:.200}")


def memory(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def run(path: Path) -> Outcome:
    global watched
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before, begin = memory("VmRSS"), time.process_time()
    events.clear()
    watched = path
    error, problem = attempt(path)
    seconds = time.process_time() - begin
    peeked, _ = attempt(path, peek_only=True)
    watched = None
    return Outcome(error, peeked, problem, seconds, memory("VmHWM") - before, list(events))


def attempt(path: Path, peek_only: bool = False) -> tuple[str, str]:
    try:
        peek(path) if peek_only else hypernet.load(path, mapped=False)
    except BaseException as error:
        return type(error).__name__, getattr(error, "problem", "")
    return "nothing", ""


def main(folder: Path) -> None:
    os.chdir(folder)
    files = sorted(Path().iterdir())
    codecs.lookup("raw_unicode_escape")  # Python imports it for the first text of protocol 0
    for path in files[:20]:  # whatever is imported or allocated once
        attempt(path)
    sys.addaudithook(watch)
    print(json.dumps({path.name: asdict(run(path)) for path in files}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
