"""Trainings as pages and the command line see them: each in a process of its own, known by its state directory.

    folder = start(Settings("pictures", "ink", "model.safetensors", output="models/hypernetworks"))
    status(folder)          # at any time, from any process
    pause(folder); go_on(folder); stop(folder)

The process outlives whoever started it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypernet.errors import HypernetError
from hypernet.library.scan import WORK
from hypernet.train.settings import Settings
from hypernet.train.store import Store, read_log

POLITE = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait give the processor to others: spinning, they make a machine at work ten times as slow."""
PACKAGE = Path(__file__).parents[2]
"""The folder that this package is imported from."""
OVER = ("finished", "failed", "paused")
"""States in which no process is at work."""


@dataclass(frozen=True)
class Status:
    """Where a training stands.

    state: 'starting', 'preparing', 'searching', 'training', 'finishing', 'waiting' (for disk space), 'paused',
    'finished', 'failed', or 'interrupted' where its process is gone; said: the latest of everything it told, by name.
    """

    folder: Path
    name: str
    state: str
    step: int
    steps: int
    said: dict[str, Any]

    @property
    def running(self) -> bool:
        """Whether a process is at work on it."""
        return self.state not in (*OVER, "interrupted")

    @property
    def can_go_on(self) -> bool:
        """Whether the run can be continued."""
        return self.state in ("paused", "failed", "interrupted")


def start(settings: Settings, python: Path | None = None) -> Path:
    """Starts a training in the background and returns its state directory. python: as for `go_on`.

    Raises HypernetError where the settings make no sense, or a training of this name is running or could go on.
    """
    settings.check()
    settings = settings.located()
    if not Path(settings.folder).is_dir():
        raise HypernetError(f"{settings.folder}: there is no such folder.")
    if not Path(settings.checkpoint).exists():
        raise HypernetError(f"{settings.checkpoint}: there is no such checkpoint.")
    folder = settings.state
    store = Store(folder)
    if store.worked_on() or _just_started(folder):
        raise HypernetError(f"“{settings.name}” is being trained already.")
    if (folder / "state.safetensors").exists():
        before = Settings.from_json(store.read_settings())
        if before != settings:
            raise HypernetError(
                f"There is a training “{settings.name}” with other settings: go on with it, or discard it."
            )
    store.write_settings(settings.to_json())
    return go_on(folder, python)


def go_on(folder: Path, python: Path | None = None) -> Path:
    """Goes on with a training that was paused, interrupted or failed, exactly where it was.

    python: the interpreter that has all that training needs; None: this one, with all that it imports from.
    """
    store = Store(folder)
    Settings.from_json(store.read_settings()).check()
    if status(folder).running:
        return folder
    _wait_until_left(store)
    store.wish()
    store.write_status(**(store.read_status() | {"state": "starting", "note": ""}))
    with (folder / "output.txt").open("ab") as output:
        subprocess.Popen(
            [*_python(python), "-m", "hypernet.train", str(folder.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=POLITE
            | os.environ
            | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)) if python is None else str(PACKAGE)},
            **_detached(),
        )
    return folder


def _wait_until_left(store: Store) -> None:
    """A process that has said its last word may still be leaving."""
    for _ in range(100):
        if not store.worked_on():
            return
        time.sleep(0.1)
    raise HypernetError("Another process still works on this training. Try again in a moment.")


def _python(python: Path | None) -> list[str]:
    """What runs a module: Python, or accelerate where there are several GPUs."""
    import torch

    command = sys.executable if python is None else str(python)
    gpus = torch.cuda.device_count()
    if gpus < 2:
        return [command]
    return [command, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(gpus)]


def _detached() -> dict[str, Any]:
    """What makes a process outlive this one and its terminal."""
    if os.name == "nt":
        return {"creationflags": 0x00000008 | 0x00000200}  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
    return {"start_new_session": True}


def status(folder: Path) -> Status:
    """Where the training stands. Raises HypernetError where there is none."""
    store = Store(folder)
    settings = Settings.from_json(store.read_settings())
    said = store.read_status()
    state = str(said.get("state", "starting"))
    if state not in OVER and not store.worked_on() and not _just_started(folder):
        state = "interrupted"
    return Status(folder, settings.name, state, int(said.get("step", 0)), settings.steps, said)


def _just_started(folder: Path) -> bool:
    """Whether a process may still be importing torch."""
    try:
        said = (folder / "status.json").stat().st_mtime
    except OSError:
        return False
    return Store(folder).read_status().get("state") == "starting" and time.time() - said < 60


def pause(folder: Path) -> None:
    """Asks a training to save itself and end its process, which gives the memory back."""
    Store(folder).wish("pause")


def stop(folder: Path) -> None:
    """Asks a training to end here and keep its best step."""
    Store(folder).wish("stop")


def discard(folder: Path) -> None:
    """Forgets a training that is not running: its state and caches. The finished files stay.

    Raises HypernetError where it is running.
    """
    if status(folder).running:
        raise HypernetError("It is running: stop it first.")
    shutil.rmtree(folder)


def on_all_pictures(folder: Path, python: Path | None = None) -> Path:
    """After a training has ended: the same again without held-out pictures, for as many steps as were best.

    python: as for `go_on`. Raises HypernetError where it has not ended.
    """
    said = status(folder)
    found = Store(folder).load()
    if said.state != "finished" or found is None:
        raise HypernetError("It has not ended: only then it is known how many steps are best.")
    progress, _, _ = found
    before = Settings.from_json(Store(folder).read_settings())
    again = before.on_all_pictures(progress.best_step, progress.rates)
    return start(replace(again, name=f"{before.name} all"), python)


def curve(folder: Path) -> list[tuple[int, float]]:
    """Step and ratio of each check: the error on held-out pictures as a part of that without the network."""
    return [(line["step"], line["ratio"]) for line in read_log(Store(folder).log) if line.keys() >= {"step", "ratio"}]


def trainings(output: Path) -> Iterator[Status]:
    """All trainings whose files go into a folder, the latest first."""
    found = sorted(output.glob(f"*{WORK}/settings.json"), key=lambda file: -file.stat().st_mtime)
    for file in found:
        try:
            yield status(file.parent)
        except HypernetError:
            continue
