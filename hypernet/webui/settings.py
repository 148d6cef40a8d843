"""The settings of the extension: what each is called, does, and is by default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECTION = ("hypernet", "Hypernetworks")

MESSAGES = {"Warnings": "WARNING", "Each network used": "INFO", "Everything": "DEBUG"}
"""What the console tells -> the level of our log."""


@dataclass(frozen=True)
class Setting:
    """One control of the settings page."""

    key: str
    default: Any
    label: str
    info: str = ""
    """Beside the label, where the host shows such: nothing that must be known."""
    choices: tuple[str, ...] = ()
    maximum: float = 0.0
    """Of a number; 0 for no slider."""


SETTINGS = (
    Setting(
        "hypernet_strength",
        0.0,
        "Strength in the tags that cards add (0: the same as for other extra networks)",
        maximum=2.0,
    ),
    Setting("hypernet_folders", "", "More folders with hypernetworks", "one on each line, next to the usual one"),
    Setting(
        "hypernet_keep", 4, "Hypernetworks kept in memory", "so that the next picture needn't read them", maximum=32
    ),
    Setting(
        "hypernet_keep_on_device",
        False,
        "Keep them on the graphics card too",
        "saves the copying before each picture, costs video memory while no hypernetwork is in use",
    ),
    Setting(
        "hypernet_precision",
        "Same as the model",
        "Precision",
        "float32 is slower and rarely visible",
        choices=("Same as the model", "float32"),
    ),
    Setting("hypernet_hashes", True, "Add hypernetwork hashes to infotext", "to find a renamed file again"),
    Setting(
        "hypernet_messages",
        "Warnings",
        "What the console tells",
        "what went wrong is always under the picture, too",
        choices=tuple(MESSAGES),
    ),
    Setting(
        "hypernet_native",
        False,
        "Use the built-in hypernetworks instead",
        "they read .pt files and a plain strength only",
    ),
)


@dataclass(frozen=True)
class Settings:
    """The settings as they are now."""

    strength: float = 0.0
    folders: tuple[Path, ...] = ()
    keep: int = 4
    keep_on_device: bool = False
    precision: str = "Same as the model"
    hashes: bool = True
    messages: str = "Warnings"
    native: bool = False

    @classmethod
    def read(cls, option: Callable[[str, Any], Any]) -> Settings:
        """option: `Host.option`."""
        value = {setting.key.removeprefix("hypernet_"): option(setting.key, setting.default) for setting in SETTINGS}
        folders = (Path(line.strip()) for line in str(value["folders"]).splitlines() if line.strip())
        return cls(
            strength=float(value["strength"]),
            folders=tuple(folders),
            keep=int(value["keep"]),
            keep_on_device=bool(value["keep_on_device"]),
            precision=str(value["precision"]),
            hashes=bool(value["hashes"]),
            messages=str(value["messages"]),
            native=bool(value["native"]),
        )

    @property
    def float32(self) -> bool:
        return self.precision == "float32"

    @property
    def log_level(self) -> str:
        return MESSAGES.get(self.messages, "WARNING")
