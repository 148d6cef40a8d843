"""The settings of the extension: for each its key, its typed form, and the control that shows it, stated once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

SECTION = ("hypernet", "Hypernetworks")
"""The settings page's id and title."""

PREFIX = "hypernet_"
"""What the keys begin with in the host's own settings."""

LOG_LEVELS = {"Warnings": "WARNING", "Each network used": "INFO", "Everything": "DEBUG"}
"""What the console shows -> the level of our log."""


@dataclass(frozen=True)
class Control:
    """How one setting looks on the settings page, and how its stored value is read."""

    default: Any
    """As the host stores it."""
    label: str
    info: str = ""
    """Beside the label, where the host shows such: nothing that must be known."""
    choices: tuple[str, ...] = ()
    maximum: float = 0.0
    """Of a number; 0 for no slider."""
    read: Callable[[Any], Any] = str
    """Stored value -> typed value."""
    needs_native: bool = False
    """Whether it makes sense only where the host has hypernetworks of its own."""


def _setting(default: Any, label: str, info: str = "", **more: Any) -> Any:
    control = Control(default, label, info, **more)
    return field(default=control.read(default), metadata={"control": control})


def _folders(text: Any) -> tuple[Path, ...]:
    return tuple(Path(line.strip()) for line in str(text).splitlines() if line.strip())


@dataclass(frozen=True)
class Settings:
    """The settings as they are now."""

    strength: float = _setting(
        0.0,
        "Strength in the tags that cards add (0: the same as for other extra networks)",
        maximum=2.0,
        read=float,
    )
    folders: tuple[Path, ...] = _setting(
        "", "More folders with hypernetworks", "one on each line, next to the usual one", read=_folders
    )
    keep: int = _setting(
        4, "Hypernetworks kept in memory", "so that the next picture needn't read them", maximum=32, read=int
    )
    keep_on_device: bool = _setting(
        False,
        "Keep them on the graphics card too",
        "saves the copying before each picture, costs video memory while no hypernetwork is in use",
        read=bool,
    )
    precision: str = _setting(
        "Same as the model",
        "Precision",
        "float32 is slower and rarely visible",
        choices=("Same as the model", "float32"),
    )
    hashes: bool = _setting(True, "Add hypernetwork hashes to infotext", "to find a renamed file again", read=bool)
    messages: str = _setting(
        "Warnings",
        "What the console shows",
        "what went wrong is always under the picture, too",
        choices=tuple(LOG_LEVELS),
    )
    civitai_key: str = _setting(
        "",
        "Civitai API key (whoever may open this page can read it; CIVITAI_API_KEY in the environment stays hidden)",
        read=lambda text: str(text).strip(),
    )
    native: bool = _setting(
        False,
        "Use the built-in hypernetworks instead",
        "they read .pt files and a plain strength only",
        read=bool,
        needs_native=True,
    )

    @classmethod
    def read(cls, option: Callable[[str, Any], Any]) -> Settings:
        """option: `Host.option`, (key, default) -> the value that the host stores."""
        return cls(**{key.removeprefix(PREFIX): each.read(option(key, each.default)) for key, each in CONTROLS.items()})

    @property
    def float32(self) -> bool:
        """Whether nets compute in float32 whatever the model computes in."""
        return self.precision == "float32"

    @property
    def log_level(self) -> str:
        """A level of Python's `logging`."""
        return LOG_LEVELS.get(self.messages, "WARNING")


def _control(setting: Field[Any]) -> Control:
    control = setting.metadata["control"]
    assert isinstance(control, Control)
    return control


CONTROLS: dict[str, Control] = {PREFIX + setting.name: _control(setting) for setting in fields(Settings)}
"""Key in the host's settings -> control, in the order of the page."""
