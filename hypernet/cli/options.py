"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hypernet.app.demo import NETWORKS
from hypernet.errors import HypernetError

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="FILE",
        help="An SD1, SD2 or SDXL model: one .safetensors file or a diffusers folder. Without it: the embedded demo.",
    ),
]
Folders = Annotated[
    list[Path] | None,
    typer.Option(
        "--hypernetworks",
        "-H",
        metavar="FOLDER",
        envvar="HYPERNETWORKS",
        help="A folder with hypernetwork files; may be repeated. Without it: models/hypernetworks, hypernetworks.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace the target if it exists.")]

USUAL_FOLDERS = (Path("models/hypernetworks"), Path("hypernetworks"))
"""Where hypernetworks are looked for, from the current folder, unless the user names a folder."""


def folders_or_usual(folders: list[Path] | None) -> list[Path]:
    """The given folders, or those of the usual ones that exist; and always the demo's. Raises HypernetError."""
    for folder in folders or ():
        if not folder.is_dir():
            raise HypernetError(f"{folder}: there is no such folder.")
    return [*(folders or [folder for folder in USUAL_FOLDERS if folder.is_dir()]), NETWORKS]
