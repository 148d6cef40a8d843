"""Renaming a hypernetwork file together with everything that lies beside it."""

from __future__ import annotations

from pathlib import Path

from hypernet.errors import HypernetError
from hypernet.library.sidefiles import PREVIEW_SUFFIXES

_PICTURES = tuple(infix + suffix for suffix in (*PREVIEW_SUFFIXES, ".mp4", ".webm") for infix in ("", ".preview"))
SIDE_ENDINGS = (".json", ".txt", ".description.txt", ".civitai.info", ".yaml", ".strip.webp", *_PICTURES)
"""What side files end with instead of the hypernetwork's own suffix."""
WHOLE_NAME_ENDINGS = (".rgthree-info.json",)
"""What side files end with behind the hypernetwork's whole name."""

_FORBIDDEN = set('<>:"|?*\\\0')
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def side_files(path: Path) -> list[Path]:
    """Everything that lies beside the hypernetwork at `path` and belongs to it."""
    names = [path.stem + ending for ending in SIDE_ENDINGS] + [path.name + ending for ending in WHOLE_NAME_ENDINGS]
    return [file for file in map(path.with_name, names) if file.is_file()]


def target_of(root: Path, place: str, suffix: str) -> Path:
    """Where the file of `place`, `ink` or `styles/ink`, lies under `root`. Raises HypernetError for other names."""
    parts = [part.strip() for part in place.replace("\\", "/").split("/")]
    for part in parts:
        _check(part)
    return root.joinpath(*parts[:-1], parts[-1] + suffix)


def move(path: Path, root: Path, place: str) -> Path:
    """Moves the hypernetwork at `path`, and its side files, to `place` under `root`: `ink`, or `styles/ink`.

    The suffix stays. Nothing is overwritten: all is moved or nothing. Returns the new path. Raises HypernetError.
    """
    target = target_of(root, place, path.suffix)
    moves = {path: target}
    for file in side_files(path):
        rest = file.name[len(path.name) :] if file.name.startswith(path.name) else file.name[len(path.stem) :]
        whole = file.name.startswith(path.name)
        moves[file] = target.with_name((target.name if whole else target.stem) + rest)
    if target == path:
        return path
    there = next((new for old, new in moves.items() if new.exists() and not _same(old, new)), None)
    if there is not None:
        raise HypernetError(f"{there.name} is there already: choose another name.")
    done: list[tuple[Path, Path]] = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for old, new in moves.items():
            old.rename(new)
            done.append((old, new))
    except OSError as error:
        for old, new in reversed(done):
            new.rename(old)
        raise HypernetError(f"{path.name} can't be moved: {error.strerror or error}. Nothing was changed.") from error
    return target


def _check(part: str) -> None:
    """Raises HypernetError for what is no name of a file or a folder on every system."""
    if not part or part.startswith(".") or part.endswith(".") or _FORBIDDEN & set(part) or not part.isprintable():
        raise HypernetError(f'“{part}” is no name for a file: leave out < > : " | ? * and dots at its ends.')
    if part.partition(".")[0].lower() in _RESERVED:
        raise HypernetError(f"“{part}” is a name that Windows keeps for itself: choose another.")


def _same(old: Path, new: Path) -> bool:
    """Whether both are one file, as where only capitals change on a drive that ignores them."""
    try:
        return old.samefile(new)
    except OSError:
        return False
