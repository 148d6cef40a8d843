"""Hypernetworks inside a WebUI, from a picture's tags to hooks on the UNet and back: the same on every host.

The host calls, in this order: `before`, `begin`; for each batch `begin_batch`, `activate` (for each pass),
`before_sampling`, `step` (for each step), `end_batch`; at last `deactivate` and `end`. Any of them may be left out when
a run fails, so each leaves things in order by itself. Extensions that draw regions activate and deactivate tags of
their own within a step.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hypernet.errors import HypernetError
from hypernet.tags import BadTag, Tag, parse_items
from hypernet.webui import infotext
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.host import Host, Processing
from hypernet.webui.prompts import notes as prompts_notes
from hypernet.webui.request import Request
from hypernet.webui.settings import CONTROLS, Settings

if TYPE_CHECKING:
    from hypernet.applied import Applied
    from hypernet.engine import Engine

_log = logging.getLogger("hypernet")

_ALWAYS = "sd_hypernetwork"
"""A1111's setting “Add hypernetwork to prompt”."""


class Session:
    """What the current picture asks for, on its way to the UNet."""

    name = "hypernet"
    """The kind of tag; as a host's `Handler`."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.catalogue = Catalogue(host)
        self._engine: Engine | None = None
        self._made_for: tuple[bool, bool] | None = None
        self._sampling: _Sampling | None = None
        self._attached: Applied | None = None
        self._collected: dict[str, None] | None = None
        self._native_ran = False

    # The life of a picture

    def before(self, p: Processing) -> None:
        """Before the request's settings count."""
        self.host.restore_after(p, [_ALWAYS, *CONTROLS])
        self.host.claim_memory()

    def begin(self, p: Processing) -> None:
        """A request begins, or a pass inside one that has a p of its own: what an earlier one left behind is gone."""
        tags = self.host.inner_pass_tags(p)
        if tags is not None:
            self.activate(p, tags)
            return
        settings = self.catalogue.settings
        logging.getLogger("hypernet").setLevel(settings.log_level)
        self._drop()
        if not settings.native:
            self._clear_native()
        infotext.forget_notes(self.host.parameters(p))
        Request.begin(p, self.host, self.catalogue)

    def begin_batch(self, p: Processing) -> None:
        """Some of the request's pictures are about to be drawn."""
        self._pass_over(p)

    def activate(self, p: Processing, params_list: list[Any], *args: Any, **kwargs: Any) -> None:
        """The tags that count from now on; within a step, until they are deactivated. Never raises."""
        if not self.host.is_request(p):
            return
        request, sampling = Request.of(p, self.host, self.catalogue), self._sampling
        inner = sampling is not None and sampling.is_in_step_of(p, self.host.is_hires(p))
        if not inner:
            self._drop()
        try:
            self._activate(request, params_list, inner)
        except Exception as error:  # a host only prints it, and the picture would go without a word
            self._drop()
            request.note([str(error) if isinstance(error, HypernetError) else f"Hypernetworks can't be used: {error}"])
            _log.debug("the error", exc_info=True)

    def before_sampling(self, p: Processing) -> None:
        """A pass is about to be sampled."""
        self._pass_over(p)
        if not self._attach(p) and self._attached is not None:
            self.host.reserve_memory(p, self._attached.nbytes)

    def step(self, params: Any) -> None:
        """A step begins; params: what the host's denoiser callback gives."""
        sampling = self._sampling
        if sampling is None:
            return
        p = self.host.sampled_request(params) or sampling.request.p
        if p is not sampling.request.p and self.host.networks_disabled(p):
            self._drop()  # left over from a run that failed
            return
        sampling.keep_last()
        self._attach(p)
        sampling.request.clock.step(params)
        sampling.in_step = True

    def end_batch(self, p: Processing) -> None:
        """Pictures of the request are drawn; what is written below them is not, yet."""
        self._pass_over(p)
        if self._sampling is not None and self._sampling.request.p is p:
            self._sampling.request.note_what_happened()

    def deactivate(self, p: Processing, *args: Any, **kwargs: Any) -> None:
        """The tags activated last count no more; within a step, those before them do again."""
        sampling = self._sampling
        if sampling is not None and sampling.request.p is p:
            sampling.active.pop()
            if sampling.active:
                self._attach(p)
            else:
                self._drop()

    def end(self, p: Processing, processed: Any = None) -> None:
        """The request is over; processed: its result, already made, whose comments can still be added to."""
        self._finish(p)
        request = Request.of(p, self.host, self.catalogue)
        self.catalogue.note_use(request.used)
        notes = request.notes
        if self._collected is not None:
            self._collected.update(notes)
        if processed is not None and notes:
            self.host.add_late_comments(processed, list(notes))

    @contextmanager
    def collected_notes(self) -> Iterator[dict[str, None]]:
        """What is said of all requests that end meanwhile."""
        before, self._collected = self._collected, {}
        try:
            yield self._collected
        finally:
            self._collected = before

    def close(self) -> None:
        """The extension goes: nothing of it stays in the host."""
        self._drop()
        self.host.uninstall()
        self.catalogue.close()

    # Inside

    def _activate(self, request: Request, params_list: list[Any], inner: bool) -> None:
        settings, native, p = self.catalogue.settings, self.host.native, request.p
        if native is not None and settings.native:
            self._native_ran = True
            native.activate(p, params_list)
            return
        self.catalogue.publish()
        self._clear_native()
        hires = self.host.is_hires(p)
        adds = inner or hires or self.host.inner_pass_tags(p) is not None
        tags = self._tags(request, params_list)
        if not adds:
            request.begin_pictures()
        if not inner:
            self._sampling = _Sampling(request, hires)
            self.host.on_close(p, lambda: self._finish(p))
            prompts, negative_prompts = self.host.batch_prompts(p)
            request.note(prompts_notes(prompts, negative_prompts, {_text(params) for params in params_list}))
        if tags:
            self._warn_of_others(request)
        assert self._sampling is not None, "an inner activation is inside of one"
        self._sampling.active.append(self._open(request, tags, settings))
        self._attach(p)
        acting = self._attached.acting if self._attached is not None else ()
        digests = request.digests(use.tag.name for use in acting) if settings.hashes else {}
        infotext.remember(self.host.parameters(p), digests, keep=adds)
        if acting:
            _log.info("hypernetworks: %s", ", ".join(use.tag.text for use in acting))

    def _tags(self, request: Request, params_list: list[Any]) -> list[Tag]:
        """What the prompt asks for, and what a setting adds to every prompt."""
        parsed = [parse_items(_items(params)) for params in params_list]
        request.note(str(tag) for tag in parsed if isinstance(tag, BadTag))
        tags = [tag for tag in parsed if not isinstance(tag, BadTag)]
        always = str(self.catalogue.option(_ALWAYS, "None") or "None")
        if always != "None":
            wanted = self.catalogue.find(always)
            if not any(self.catalogue.find(tag.name) == wanted if wanted else tag.name == always for tag in tags):
                added = parse_items([always, str(self.catalogue.option("extra_networks_default_multiplier", 1.0))])
                if not isinstance(added, BadTag):
                    tags.append(added)
                    self.host.add_to_prompts(request.p, added.text)
        return tags

    def _open(self, request: Request, tags: Sequence[Tag], settings: Settings) -> Applied | None:
        """The tags' networks; None where there are none. Tags that were asked for before are the same object."""
        if not tags:
            return None
        from hypernet.applied import Applied

        applied = request.applied.get(tuple(tags))
        if applied is None:
            engine = self._engine_for(settings)
            applied = Applied(tags, request.open, engine, request.clock, self.host.read_weight, self.host.watch)
            request.applied[applied.tags] = applied
            request.note(applied.notes)
        return applied if applied.uses else None

    def _attach(self, p: Processing) -> bool:
        """Makes the UNet that p uses now follow the tags that count now. Returns whether anything had to be done.

        The refiner, or a second checkpoint, may have put another UNet in the place of the one before.
        """
        sampling = self._sampling
        if sampling is None:
            return False
        applied = sampling.active[-1] if sampling.active else None
        if applied is not self._attached:
            self._detach()
        if applied is None:
            return False
        try:
            if not applied.follow(self.host.find_unet(p)):
                return False
        except HypernetError as error:
            self._drop()
            sampling.request.note([str(error)])
            return False
        self._attached = applied
        sampling.request.note(applied.notes)
        self.host.reserve_memory(p, applied.nbytes)
        return True

    def _detach(self) -> None:
        """Leaves the UNet as it was, and says what went wrong until now."""
        attached, self._attached = self._attached, None
        if attached is not None:
            attached.detach()
            if self._sampling is not None:
                self._sampling.request.note(attached.notes)

    def _drop(self) -> None:
        """Ends the sampling run, whosever it is."""
        self._detach()
        if self._sampling is not None:
            self._sampling.request.note_what_happened()
            self._sampling = None

    def _finish(self, p: Processing) -> None:
        """Ends the sampling run, if it is p's."""
        if self._sampling is not None and self._sampling.request.p is p:
            self._drop()

    def _pass_over(self, p: Processing) -> None:
        """No step of p's is under way: the next activation is not within one."""
        if self._sampling is not None and self._sampling.request.p is p:
            self._sampling.keep_last()
            self._sampling.in_step = False

    def _engine_for(self, settings: Settings) -> Engine:
        """Made anew when the settings ask for another one, between two pictures."""
        from hypernet.engine import Engine

        wanted = (settings.keep_on_device, settings.float32)
        if self._engine is None or (self._made_for != wanted and not self._engine.attached):
            import torch

            self._made_for = wanted
            self._engine = Engine(settings.keep_on_device, torch.float32 if settings.float32 else None)
        return self._engine

    def _clear_native(self) -> None:
        """Ends what the host's own engine was asked for while a setting preferred it."""
        if self.host.native is not None and self._native_ran:
            self.host.native.clear()
        self._native_ran = False

    def _warn_of_others(self, request: Request) -> None:
        """The host's own list is empty while we are at work; what another extension puts there is its own affair."""
        others = self.host.native.loaded() if self.host.native is not None else ()
        if others:
            names = ", ".join(others)
            request.note([f"Another extension applies hypernetworks of its own beside the prompt's: {names}."])


class _Sampling:
    """One sampling run of a request, its first pass or its hires pass."""

    def __init__(self, request: Request, hires: bool) -> None:
        self.request, self.hires = request, hires
        self.active: list[Applied | None] = []
        """What was activated and not deactivated since; the last one counts. None for no networks."""
        self.in_step = False
        """Whether a step has begun: what is activated now counts for a part of it, such as a region."""

    def is_in_step_of(self, p: Processing, hires: bool) -> bool:
        """Whether p is within a step of this run."""
        return self.in_step and self.request.p is p and self.hires == hires

    def keep_last(self) -> None:
        """What was activated within a step and never deactivated counts from now on."""
        self.active = self.active[-1:]


def _items(params: Any) -> list[str]:
    """The parts of a tag, from what hosts hand over: `["ink", "0.7", "k=0"]`."""
    return [str(item) for item in params.items]


def _text(params: Any) -> str:
    """A tag as it was typed."""
    return f"<hypernet:{':'.join(_items(params))}>"
