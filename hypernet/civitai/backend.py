"""The backend of a Civitai page: search, previews, downloads and look-ups in the background. Returns JSON."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from hypernet.civitai import json_forms
from hypernet.civitai.answers import Image
from hypernet.civitai.client import Civitai, Search, site_from_environment
from hypernet.civitai.connection import CivitaiError
from hypernet.civitai.get import get
from hypernet.civitai.lookup import lookup
from hypernet.civitai.progress import Watch
from hypernet.civitai.reference import reference
from hypernet.civitai.tasks import Tasks
from hypernet.library import Library

_MAX_SEEN = 500  # models of which the preview can be asked for
_TEXTS = ("text", "tag", "creator", "base", "sort", "period")
_TYPES = {".png": "image/png", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}


class Backend:
    """What a page calls. Methods raise HypernetError with a sentence for the user.

    library: the user's files as they are now; a download goes into its first folder. key: the API key as it is now.
    changed: called, on a task's thread, when files were added or side files changed.
    """

    def __init__(
        self, library: Callable[[], Library], key: Callable[[], str], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._library, self._key, self._changed = library, key, changed
        self._seen: OrderedDict[int, Image] = OrderedDict()
        self._tasks = Tasks()

    def search(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """asked: `text`, `tag`, `creator`, `base`, `sort`, `period`, `adult`, and `cursor` for the next page."""
        texts: dict[str, Any] = {name: str(asked[name]) for name in _TEXTS if asked.get(name)}
        with self._civitai() as civitai:
            page = civitai.search(Search(**texts, adult=asked.get("adult") is True), str(asked.get("cursor") or ""))
        for model in page.models:
            if model.preview is not None:
                self._seen[model.id] = model.preview
        while len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
        return json_forms.page_form(page)

    def preview(self, model: int) -> tuple[bytes, str]:
        """The picture of a model that a search has shown, and its media type.

        The page gives no address, so it can't make this server request one.
        """
        image = self._seen.get(model)
        if image is None:
            raise CivitaiError("Search for this model first.")
        with self._civitai() as civitai:
            content, suffix = civitai.picture(image)
        return content, _TYPES[suffix]

    def get(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Starts a download. asked: `model` as in `reference`, `safetensors`, `adult`. Returns the task's state."""
        wanted = reference(str(asked.get("model", "")), site_from_environment())

        def work(watch: Watch) -> object:
            library = self._library()
            with self._civitai() as civitai:
                got = get(
                    civitai,
                    wanted,
                    library.folders[0],
                    as_safetensors=asked.get("safetensors") is True,
                    adult=asked.get("adult") is True,
                    library=library,
                    watch=watch,
                )
            self._changed()
            return got

        return self.state(self._tasks.start(work))

    def lookup(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Starts a look-up. asked: `names` of files, or none for all; `adult`. Returns the task's state."""
        given = asked.get("names")
        names = [str(name) for name in given] if isinstance(given, list) else None

        def work(watch: Watch) -> object:
            library = self._library()
            found = library.entries() if names is None else [library.find(name) for name in names]
            with self._civitai() as civitai:
                entries = [entry for entry in found if entry is not None]
                looked = lookup(civitai, library, entries, adult=asked.get("adult") is True, watch=watch)
            self._changed()
            return looked

        return self.state(self._tasks.start(work))

    def state(self, task: str) -> dict[str, Any]:
        """How a task stands: `doing`, `done`, `total`, `unit`, `finished`, `error`, and `got` or `looked`."""
        found = self._tasks.task(task)
        if found is None:
            raise CivitaiError("Nobody knows of this task any more.")
        return json_forms.task_form(found)

    def cancel(self, task: str) -> dict[str, Any]:
        """Stops a task at its next step."""
        self._tasks.cancel(task)
        return self.state(task)

    def close(self) -> None:
        """Stops all tasks."""
        self._tasks.close()

    def _civitai(self) -> Civitai:
        return Civitai(self._key(), site_from_environment())
