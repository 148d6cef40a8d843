"""Every regular expression of ours takes time in proportion to the text: a prompt or a file may be made to hang it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib, inspect, itertools, pkgutil, re, sys
import hypernet

LENGTH = 100_000
OWN_WORDS = ("hypernet.convert", "hypernet.cli", "hypernet.train", "hypernet.app")  # read what their user types alone
PIECES = ("<hypernet:", "<", "[", "a", "0", "0,", "1@0,", " ", "\\n", ":", ": 0123456789", "=", "/", "-", ".", ",",
          '"', "\\\\", "<!--", "a.", " a", "_", "\\0", "lora_", "linear.0.", "hypernet ", "A1")
STARTS = ("", "<hypernet:")
ENDS = ("!", ">")


def patterns():
    for module in pkgutil.walk_packages(hypernet.__path__, "hypernet."):
        if module.name.endswith("__main__") or module.name.startswith(OWN_WORDS):
            continue
        try:
            found = importlib.import_module(module.name)
        except ImportError:
            continue
        for name, value in vars(found).items():
            if isinstance(value, re.Pattern):
                source = inspect.getsource(found)
                searched = re.search(rf"\\b{name}\\.(search|finditer|findall|sub|subn|split|match)\\b", source)
                yield f"{module.name}.{name}", value, searched or not name.startswith("_")


seen = set()
for name, pattern, searched in patterns():
    if (pattern, bool(searched)) in seen:
        continue
    seen.add((pattern, bool(searched)))
    for start, piece, end in itertools.product(STARTS, PIECES, ENDS):
        text = start + piece * (LENGTH // len(piece)) + end
        text = text.encode() if isinstance(pattern.pattern, bytes) else text
        print(f"{name} {pattern.pattern!r} on {start!r} {piece!r} {end!r}", file=sys.stderr, flush=True)
        pattern.fullmatch(text)
        for match in itertools.islice(pattern.finditer(text) if searched else (), 3):
            pass
print(len(seen))
"""
LIMIT = 240
"""Seconds for all patterns together, of which a quadratic one alone would need hours."""


def test_no_pattern_takes_the_square_of_the_text() -> None:
    command = [sys.executable, "-c", PROGRAM]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, check=True, cwd=Path(__file__).parent.parent
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError((error.stderr or b"").decode().splitlines()[-1]) from None
    assert int(done.stdout) > 20
