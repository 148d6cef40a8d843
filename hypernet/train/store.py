"""The state directory of a training: what it needs to go on, what it tells others, and what they ask of it.

settings.json      what it was told
state.safetensors  weights, best weights and moments, with `Progress` in its header; replaced whole
log.jsonl          a line for each step, check and note
status.json        where it stands, for whoever looks
alive              touched by the process that works on it
wish               "pause" or "stop", written by whoever wants that
cache/             latents and texts
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hypernet import atomic
from hypernet.errors import HypernetError

_BEAT = 2.0
_SILENCE = 30.0
"""Seconds without a beat after which nobody is at work."""


@dataclass
class Progress:
    """Where a training stands. Losses are means over the held-out pictures; `without`: without the network."""

    step: int = 0
    rates: str = ""
    """The text in use: what was typed, or what the search found."""
    factor: float = 1.0
    """Of the rate, lowered by each setback."""
    warm_from: int = 0
    """The step at which the last warm-up began."""
    setbacks: int = 0
    without: float = 0.0
    best: float = 0.0
    best_step: int = 0
    waiting: int = 0
    """Checks since the best one."""
    checks: list[tuple[int, float]] = field(default_factory=list)
    """Step and loss of each check."""
    next_check: int = 0
    seconds: float = 0.0
    """Spent training so far, over all runs."""
    ended: str = ""
    """Why it is over; empty while it is not."""


class Store:
    """One state directory. Raises OSError where the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def cache(self) -> Path:
        """The folder of encoded pictures and captions."""
        return self.folder / "cache"

    @property
    def log(self) -> Path:
        """The file that every step adds a line to."""
        return self.folder / "log.jsonl"

    def read_settings(self) -> str:
        """The text of the settings. Raises HypernetError where there is no training."""
        try:
            return (self.folder / "settings.json").read_text(encoding="utf-8")
        except OSError as error:
            raise HypernetError(f"{self.folder}: there is no training here.") from error

    def write_settings(self, text: str) -> None:
        """Keeps the settings as they were typed. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(self.folder / "settings.json", text.encode())

    def save(self, progress: Progress, tensors: Mapping[str, Tensor], extra: Mapping[str, Any]) -> None:
        """Replaces the state, whole or not at all. extra: further values that JSON can hold."""
        header = {"progress": json.dumps(asdict(progress)), "extra": json.dumps(extra)}
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        atomic.write_bytes(self.folder / "state.safetensors", save(held, header))

    def load(self) -> tuple[Progress, dict[str, Tensor], dict[str, Any]] | None:
        """The state that was saved last; None where none was. Raises HypernetError for a damaged one."""
        path = self.folder / "state.safetensors"
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            values = json.loads(header["progress"])
            values["checks"] = [(step, loss) for step, loss in values["checks"]]
            return Progress(**values), tensors, json.loads(header["extra"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise HypernetError(f"{path}: the saved training is damaged: {error}") from error

    def cut_log(self, step: int) -> None:
        """Forgets what was logged after a step that is now done again."""
        if self.log.is_file():
            kept = [line for line in read_log(self.log) if line.get("step", 0) <= step]
            atomic.write_bytes(self.log, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def write_log(self, **line: Any) -> None:
        """Adds a line to the log."""
        with suppress(OSError), self.log.open("a", encoding="utf-8") as stream:  # a full disk stops no training
            stream.write(json.dumps(line) + "\n")

    def write_status(self, **status: Any) -> None:
        """Tells others where the run stands."""
        with suppress(OSError):
            atomic.write_bytes(self.folder / "status.json", json.dumps(status).encode())

    def read_status(self) -> dict[str, Any]:
        """What the training last said of itself."""
        try:
            status = json.loads((self.folder / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    def wish(self, what: str = "") -> None:
        """Asks the training to "pause" or "stop"; without a word, takes the wish back."""
        if what:
            atomic.write_bytes(self.folder / "wish", what.encode())
        else:
            (self.folder / "wish").unlink(missing_ok=True)

    def wished(self) -> str:
        """What somebody asked the run to do, or nothing."""
        try:
            return (self.folder / "wish").read_text(encoding="utf-8")
        except OSError:
            return ""

    def worked_on(self) -> bool:
        """Whether a process is at work on it."""
        try:
            process, beat = json.loads((self.folder / "alive").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if os.name == "posix":
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                return False
            except OSError:
                pass
        return time.time() - float(beat) < _SILENCE

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Says that this process is at work, for as long as the context lasts. Raises HypernetError where one is."""
        if self.worked_on():
            raise HypernetError(f"{self.folder.name} is being worked on by another process. Pause or stop it first.")
        ended = threading.Event()

        def beat() -> None:
            while True:
                with suppress(OSError):  # in one stroke: who reads it in between would think the process gone
                    (self.folder / "beat").write_text(json.dumps([os.getpid(), time.time()]), encoding="utf-8")
                    (self.folder / "beat").replace(self.folder / "alive")
                if ended.wait(_BEAT):
                    return

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            (self.folder / "alive").unlink(missing_ok=True)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; one that was cut off by a crash is left out."""
    lines = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
    return lines
