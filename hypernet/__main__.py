"""`python -m hypernet` is the command `hypernet`."""

from __future__ import annotations

from hypernet.cli import main

if __name__ == "__main__":
    main()
