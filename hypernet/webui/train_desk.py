"""What can be done about trainings in a WebUI, for its tab and its routes: look, start, watch, end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernet.errors import HypernetError
from hypernet.webui import train_panel
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.host import Host
from hypernet.webui.train_env import Environment

if TYPE_CHECKING:
    from hypernet.train.jobs import Status
    from hypernet.train.settings import Settings

ROOT = Path(__file__).parents[2]
"""The extension's folder."""
LATEST = 8
"""Trainings that are shown."""
LOOK_AGAIN = 3.0
"""Seconds."""

_log = logging.getLogger("hypernet")


class Desk:
    """One per WebUI. A training goes on without it; what the host must do at the training's end is done from here."""

    def __init__(self, host: Host, catalogue: Catalogue, environment: Environment | None = None) -> None:
        self._host, self._catalogue = host, catalogue
        self.environment = environment or Environment(ROOT)
        self._watching: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def output(self) -> Path:
        """The folder that networks are written into."""
        return Path(self._host.model_dirs()[0]).absolute()

    def settings(self, values: Mapping[str, Any]) -> Settings:
        """values: by the names of `Settings`; without a checkpoint the host's counts. Raises HypernetError."""
        from hypernet.train.settings import Settings

        given = {key: value.strip() if isinstance(value, str) else value for key, value in values.items()}
        if not given.get("folder"):
            raise HypernetError("Say which folder has the pictures.")
        checkpoint = given.get("checkpoint") or self._host.checkpoint_path()
        if not checkpoint:
            raise HypernetError("There is no checkpoint to train for. Choose one at the top of the page.")
        whole = {**given, "checkpoint": str(checkpoint), "output": str(self.output)}
        return Settings.from_values(whole).located()

    def foresee(self, values: Mapping[str, Any]) -> str:
        """What a training would be, as HTML. Raises HypernetError, with the reason why there can't be one."""
        from hypernet.train.prospect import foresee

        return train_panel.prospect(foresee(self.settings({**values, "name": values.get("name") or "new"})))

    def start(self, values: Mapping[str, Any]) -> Status:
        """Starts a training. Raises HypernetError."""
        from hypernet.train import jobs

        settings = self.settings(values)
        if not settings.name:
            raise HypernetError("Give it a name: the tag in the prompt and the file will be called so.")
        settings.check()
        python = self._python()
        return self._begun(lambda: jobs.start(settings, python))

    def act(self, folder: str, action: str) -> None:
        """Does one of `train_panel.ACTIONS` with a training, or 'install'. Raises HypernetError.

        folder: the name of its state directory.
        """
        from hypernet.train import jobs

        if action == "install":
            self.environment.install()
            return
        status = next((each for each in jobs.trainings(self.output) if each.folder.name == folder), None)
        if status is None:
            raise HypernetError(f"There is no training “{folder}”.")
        if action not in train_panel.possible(status):
            raise HypernetError(f"“{status.name}” is {status.state}: that can't be done now.")
        if action == "pause":
            jobs.pause(status.folder)
        elif action == "stop":
            jobs.stop(status.folder)
        elif action == "discard":
            jobs.discard(status.folder)
        else:
            python, again = self._python(), jobs.go_on if action == "continue" else jobs.on_all_pictures
            self._begun(lambda: again(status.folder, python))

    def trainings(self) -> list[Status]:
        """The latest ones."""
        from hypernet.train import jobs

        found = list(islice(jobs.trainings(self.output), LATEST))
        if any(status.running for status in found):
            self._watch()
        return found

    def panel(self) -> str:
        """All of it, as HTML."""
        from hypernet.train import jobs

        environment, lacks = self.environment, ""
        if environment.python() is None:
            missing = environment.lacking()
            lacks = train_panel.environment(missing, environment.installing, environment.failed, environment.output)
        return lacks + train_panel.trainings((status, jobs.curve(status.folder)) for status in self.trainings())

    def _python(self) -> Path:
        python = self.environment.python()
        if python is None:
            missing = ", ".join(self.environment.lacking())
            raise HypernetError(f"Training needs {missing}: press “Set up” first.")
        return python

    def _begun(self, start: Callable[[], Path]) -> Status:
        """Starts, and makes room while the new process is still importing. Raises HypernetError."""
        from hypernet.train import jobs

        try:
            status = jobs.status(start())
        except OSError as error:
            raise HypernetError(f"The training can't be started: {error.strerror or error}.") from error
        self._host.lend_memory()
        self._watch()
        return status

    def _watch(self) -> None:
        with self._lock:
            if self._watching is None or not self._watching.is_alive():
                self._watching = threading.Thread(target=self._until_ended, name="hypernet-train", daemon=True)
                self._watching.start()

    def _until_ended(self) -> None:
        """Waits until no training runs, whether a page is open or not; then the host has its memory and the files."""
        from hypernet.train import jobs

        pause = threading.Event()
        try:
            while any(status.running for status in jobs.trainings(self.output)):
                pause.wait(LOOK_AGAIN)
            self._host.claim_memory()
            self._catalogue.refresh()
        except Exception:
            _log.warning("The end of a training could not be seen to.", exc_info=True)
