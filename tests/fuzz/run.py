"""Fuzzing guided by coverage, with atheris (libFuzzer), for as long as you like.

    pip install atheris
    python -m tests.fuzz.run pickle --runs 1000000 --corpus FOLDER

FOLDER keeps what reaches new code, so that the next run goes on from there. An input that breaks a promise is written
to the current folder as crash-...; it then belongs into tests/fuzz/crashes, as TARGET-WHAT.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris
import torch

with atheris.instrument_imports(
    include=["hypernet.files", "hypernet.tags", "hypernet.schedule", "pickletools", "json"]
):
    from tests.fuzz.targets import TARGETS, seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--corpus", type=Path, required=True)
    options = parser.parse_args()
    options.corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(options.target)):
        if len(seed) <= 4096 and not any(options.corpus.glob(f"seed-{number}")):
            (options.corpus / f"seed-{number}").write_bytes(seed)
    torch.set_num_threads(1)
    longest = 200_000 if options.target == "tags" else 65_536  # what is slow is slow on long inputs only
    flags = [
        f"-runs={options.runs}",
        f"-max_len={longest}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(options.corpus)], TARGETS[options.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
