"""SD.Next's passes: it activates tags for the first and the hires pass, not for the detailer's and the refiner's."""

from __future__ import annotations

from typing import Any

from hypernet.webui.host import Handler, Processing

_PREPARE = "set_callbacks_p"


class Passes:
    """The host's handler for `<hypernet:...>`. What it activates stays until the request is done.

    Every pass, whatever its kind, is prepared by one function of the host (`set_callbacks_p`); ours, in its place,
    notices the passes that nothing is activated for.
    """

    def __init__(self, handler: Handler, extra_networks: Any, processing_args: Any) -> None:
        """extra_networks, processing_args: the host's modules."""
        self.name, self._handler = handler.name, handler
        self._extra_networks, self._processing_args = extra_networks, processing_args
        self._asked: list[Any] = []
        """What the host activated last."""
        self._active: list[Any] = []
        self._params: dict[str, Any] = {}
        self._released = False
        self._prepare: Any = getattr(processing_args, _PREPARE, None)
        self._ours = self._begins
        if self._prepare is not None:
            setattr(processing_args, _PREPARE, self._ours)

    def activate(self, p: Processing, params_list: list[Any], *args: Any, **kwargs: Any) -> None:
        """Called by the host with the tags of a pass."""
        self._asked, self._params = list(params_list), p.extra_generation_params
        self._activate(p, self._asked)

    def deactivate(self, p: Processing, *args: Any, **kwargs: Any) -> None:
        """The detailer, for which the networks stay, comes after this."""

    def tags(self, p: Processing) -> list[Any] | None:
        """The detailer's tags, or the refiner's; None where the host activates them by itself."""
        if getattr(p, "recursion", False):
            return self._read(p.prompt) or self._asked
        if getattr(p, "is_refiner_pass", False) and p.refiner_prompt:
            return self._read(p.refiner_prompt)
        return None

    def end(self) -> None:
        """The request is done: the next one's detailer knows nothing of it."""
        self._asked, self._active, self._params = [], [], {}

    def release(self) -> None:
        """Gives the function back, unless somebody else put theirs in its place by now."""
        if getattr(self._processing_args, _PREPARE, None) is self._ours:
            setattr(self._processing_args, _PREPARE, self._prepare)
        self._released = True

    def _activate(self, p: Processing, tags: list[Any]) -> None:
        self._active = tags
        self._handler.activate(p, tags)

    def _begins(self, p: Processing) -> None:
        """A pass begins: the first, hires, the refiner's, the detailer's for one of the things that it found."""
        self._prepare(p)
        if self._released:
            return
        tags = self.tags(p)
        if tags is None or tags == self._active:
            self._handler.before_sampling(p)
            return
        p.extra_generation_params = self._params  # the detailer's own are dropped, and what is said there with them
        self._activate(p, tags)

    def _read(self, prompt: str) -> list[Any]:
        """The tags in a prompt, as the host hands them over."""
        return list(self._extra_networks.parse_prompt(prompt)[1].get("hypernet", []))
