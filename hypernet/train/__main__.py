"""The process a training runs in: `python -m hypernet.train STATE`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from hypernet.errors import HypernetError
from hypernet.train.settings import Settings
from hypernet.train.store import Store
from hypernet.train.training import train


def main(folder: str) -> int:
    """Trains what the settings in the folder say. What happens is in its log and status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        train(Settings.from_json(Store(Path(folder)).read_settings()))
    except HypernetError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
