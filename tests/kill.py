"""kill -9 at random moments: every writer leaves the old file or the new one, whole.

    python -m tests.kill --kills 1000

A writer writes as fast as it can, in a process of its own, and is killed after a random time; then what is on disk is
read.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import tempfile
import time
from pathlib import Path

from tests.writers import PROCESSES, WRITERS, prepare, write_on


def kill(name: str, folder: Path, chosen: random.Random) -> None:
    """Raises AssertionError, or what the reader raises, where something is not whole."""
    before = states(folder)
    process = PROCESSES.Process(target=write_on, args=(name, folder))
    process.start()
    while states(folder) == before:  # until it has begun
        assert process.is_alive(), "the writer ended by itself"
        time.sleep(0.001)
    time.sleep(chosen.uniform(0, 0.05))
    process.kill()
    process.join()
    WRITERS[name][1](folder)


def states(folder: Path) -> set[tuple[str, int]]:
    found = set()
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.add((entry.name, entry.stat().st_mtime_ns))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen, times = random.Random(options.seed), options.kills // len(WRITERS)
    for name in WRITERS:
        with tempfile.TemporaryDirectory() as folder:
            prepare(name, Path(folder))
            for _ in range(times):
                kill(name, Path(folder), chosen)
            left = len(list(Path(folder).glob(".hypernet-*")))
        print(f"{name}: killed {times} times, always whole; {left} temporary files left", flush=True)


if __name__ == "__main__":
    main()
