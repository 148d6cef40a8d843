"""Command line options of hosts that dropped them."""

from __future__ import annotations

from argparse import ArgumentParser


def preload(parser: ArgumentParser) -> None:
    """Called by the host with the parser of its own command line."""
    if "--hypernetwork-dir" not in parser._option_string_actions:
        parser.add_argument("--hypernetwork-dir", type=str, default=None, help="hypernetwork directory")
