"""Hypernetworks inside a WebUI, from a picture's tags to hooks on the UNet and back: the same on every host.

The host calls, in this order: `before`, `begin`, `activate` (for each batch and pass), `before_sampling`, `step` (for
each step), `deactivate`, `end`. Any of them may be left out when a run fails, so each leaves things in order by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from hypernet.errors import HypernetError
from hypernet.library import Entry, Library
from hypernet.webui import infotext
from hypernet.webui.dialects import find_host
from hypernet.webui.host import Host, Processing, RunClock
from hypernet.webui.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from torch import nn

    from hypernet.engine import Engine
    from hypernet.plan import Plan, Use
    from hypernet.tags import Tag

_log = logging.getLogger("hypernet")

_ALWAYS = "sd_hypernetwork"
"""A1111's setting “Add hypernetwork to prompt”."""


class Session:
    """One WebUI's hypernetworks: the library, the engine and what the current picture asks for."""

    name = "hypernet"
    """The kind of tag; as a host's `Handler`."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._library: Library | None = None
        self._made_of: tuple[tuple[Path, ...], int] | None = None
        self._published: tuple[Entry, ...] | None = None
        self._engine: Engine | None = None
        self._engine_for: tuple[bool, bool] | None = None
        self._run: _Run | None = None
        self._native_ran = False

    # What is on disk

    @property
    def settings(self) -> Settings:
        return Settings.read(self.host.option)

    @property
    def library(self) -> Library:
        """Made anew when the settings changed what it would be made of."""
        settings = self.settings
        folders = tuple(dict.fromkeys([*self.host.model_dirs(), *settings.folders]))
        made_of = (folders, settings.keep)
        if self._library is None or self._made_of != made_of:
            if self._library is not None:
                self._library.close()
            cache = self.host.cache_dir()
            path = cache / "hypernet.sqlite" if cache is not None else None
            self._library, self._made_of = Library(folders, path, keep=settings.keep), made_of
        return self._library

    def refresh(self) -> None:
        """Lists the folders anew."""
        self.library.scan()
        self.publish()

    def list_files(self) -> dict[str, str]:
        """Lists the folders anew: name -> path."""
        self.refresh()
        return self._files()

    def _files(self) -> dict[str, str]:
        return {entry.name: entry.shown_path for entry in self.library.entries()}

    def publish(self) -> None:
        """Lets the rest of the host know of every file there is now."""
        entries = self.library.entries()
        if entries is not self._published:
            self._published = entries
            self.host.publish(self._files())

    def sha256(self, entry: Entry) -> str | None:
        """The digest, or None where hashing is forbidden or the file can't be read any more."""
        library = self.library
        if not self.host.may_hash():
            return library.sha256_if_known(entry)
        try:
            return library.sha256(entry)
        except HypernetError:
            return None

    # The life of a picture

    def before(self, p: Processing) -> None:
        """Before the request's settings count."""
        self.host.outlast(p, [_ALWAYS, *(setting.key for setting in SETTINGS)])

    def begin(self, p: Processing) -> None:
        """A run begins: what an earlier one left behind is gone."""
        tags = self.host.part_of_run(p)
        if tags is not None:
            self.activate(p, tags)
            return
        settings = self.settings
        logging.getLogger("hypernet").setLevel(settings.log_level)
        self._detach()
        if not settings.native:
            self._clear_native()
        setattr(p, _NOTED, {})

    def activate(self, p: Processing, params_list: list[Any], *args: Any, **kwargs: Any) -> None:
        """The tags that count from now on; none ends the last ones. Never raises."""
        if not self.host.is_run(p):
            return
        try:
            self._activate(p, params_list)
        except HypernetError as error:
            self._detach()
            self._note(p, [str(error)])
        except Exception as error:  # a host only prints it, and the picture would go without a word
            self._detach()
            self._note(p, [f"Hypernetworks could not be used: {error}"])
            _log.debug("the error", exc_info=True)

    def before_sampling(self, p: Processing) -> None:
        """A pass is about to be sampled."""
        if self._run is not None and not self._follow(p):
            self.host.reserve_memory(p, self._run.nbytes)

    def step(self, params: Any) -> None:
        """A step begins; params: what the host's denoiser callback gives."""
        run = self._run
        if run is None:
            return
        p = getattr(getattr(params, "denoiser", None), "p", run.p)
        if p is not run.p and getattr(p, "disable_extra_networks", False):
            self._detach()  # left over from a run that failed
            return
        self._follow(p)
        run.clock.step(params)

    def deactivate(self, p: Processing, *args: Any, **kwargs: Any) -> None:
        """The pictures are sampled."""
        self._finish(p)

    def end(self, p: Processing, processed: Any = None) -> None:
        """The run is over; processed: its result, already made, whose comments can still be added to."""
        self._finish(p)
        comments = getattr(processed, "comments", None)
        if isinstance(comments, str):
            missing = [note for note in getattr(p, _NOTED, ()) if note not in comments]
            processed.comments = comments + "".join(f"{note}\n" for note in missing)

    def close(self) -> None:
        """The extension goes: nothing of it stays in the host."""
        self._detach()
        self.host.release()
        self._published = None
        if self._library is not None:
            self._library.close()
            self._library = None

    # Inside

    def _activate(self, p: Processing, params_list: list[Any]) -> None:
        settings, native = self.settings, self.host.native
        self._detach()
        if native is not None and settings.native:
            self._native_ran = True
            native.activate(p, params_list)
            return
        self.publish()
        self._clear_native()
        tags = self._tags(p, params_list)
        if tags:
            self._warn_of_others(p)
            self._start(p, tags, settings)
        elif not self._adds(p):
            infotext.forget(p)

    def _tags(self, p: Processing, params_list: list[Any]) -> list[Tag]:
        """What the prompt asks for, and what a setting adds to every prompt."""
        from hypernet.tags import BadTag, parse_items

        parsed = [parse_items([str(item) for item in params.items]) for params in params_list]
        self._note(p, [str(tag) for tag in parsed if isinstance(tag, BadTag)])
        tags = [tag for tag in parsed if not isinstance(tag, BadTag)]
        always = str(self.host.option(_ALWAYS, "None") or "None")
        if always != "None":
            wanted = self.library.find(always)
            if not any(self.library.find(tag.name) == wanted if wanted else tag.name == always for tag in tags):
                strength = self.host.option("extra_networks_default_multiplier", 1.0)
                added = parse_items([always, str(strength)])
                if not isinstance(added, BadTag):
                    tags.append(added)
                    p.all_prompts = [_with(prompt, added.text) for prompt in p.all_prompts]
        return tags

    def _start(self, p: Processing, tags: Sequence[Tag], settings: Settings) -> None:
        from hypernet.plan import open_tags

        uses, notes = open_tags(tags, self.library.open)
        self._note(p, notes)
        if not uses:
            return
        run = self._run = _Run(p, uses, self.host.new_clock(p))
        self.host.when_done(p, lambda: self.deactivate(p))
        plan = self._attach(p)
        if settings.hashes:
            infotext.remember(p, self._hashes(plan.applied), keep=self._adds(p))
        run.applied = [use.tag.text for use in plan.applied]
        _log.info("hypernetworks: %s", ", ".join(run.applied))

    def _attach(self, p: Processing) -> Plan:
        """Lays the run's networks out over the UNet that p uses now."""
        from hypernet.plan import make_plan
        from hypernet.sites import find_sites

        run = self._run
        assert run is not None
        run.unet = None
        unet = self.host.find_unet(p)
        plan = make_plan(run.uses, find_sites(unet))
        self._note(p, plan.notes)
        self.engine.attach(unet, plan, run.clock, self.host.read_weight)
        self.host.reserve_memory(p, run.nbytes)
        run.unet = unet
        return plan

    def _follow(self, p: Processing) -> bool:
        """The refiner, or a second checkpoint, may have put another UNet in the place of the one that was hooked.

        Returns whether it has.
        """
        run = self._run
        try:
            if run is not None and self.host.find_unet(p) is not run.unet:
                self._attach(p)
                return True
        except HypernetError as error:
            self._detach()
            self._note(p, [str(error)])
        return False

    @property
    def engine(self) -> Engine:
        """Made anew when the settings ask for another one, between two pictures."""
        from hypernet.engine import Engine

        settings = self.settings
        wanted = (settings.keep_on_device, settings.float32)
        if self._engine is None or (self._engine_for != wanted and not self._engine.attached):
            import torch

            self._engine_for = wanted
            self._engine = Engine(settings.keep_on_device, torch.float32 if settings.float32 else None)
        return self._engine

    def _hashes(self, uses: Sequence[Use]) -> dict[str, str]:
        found = {use.tag.name: self.library.find(use.tag.name) for use in uses}
        digests = {name: self.sha256(entry) for name, entry in found.items() if entry is not None}
        return {name: digest for name, digest in digests.items() if digest is not None}

    def _adds(self, p: Processing) -> bool:
        """Whether p's networks come beside those of an earlier pass for the same picture."""
        return _hires(p) or self.host.part_of_run(p) is not None

    def _finish(self, p: Processing) -> None:
        """Ends the run, if it is p's, and tells what went wrong in it."""
        if self._run is None or self._run.p is not p:
            return
        failures = self._engine.failures if self._engine is not None else ()
        self._detach()
        self._note(p, failures)

    def _detach(self) -> None:
        self._run = None
        if self._engine is not None:
            self._engine.detach()

    def _clear_native(self) -> None:
        """Ends what the host's own engine was asked for while a setting preferred it."""
        if self.host.native is not None and self._native_ran:
            self.host.native.clear()
        self._native_ran = False

    def _warn_of_others(self, p: Processing) -> None:
        """The host's own list is empty while we are at work; what another extension puts there, it may have its way."""
        others = self.host.native.loaded() if self.host.native is not None else ()
        if others:
            names = ", ".join(others)
            self._note(p, [f"Another extension applies hypernetworks of its own beside the prompt's: {names}."])

    def _note(self, p: Processing, notes: Sequence[str]) -> None:
        """Says each once for each run, under the picture and in the console."""
        noted: dict[str, None] | None = getattr(p, _NOTED, None)
        if noted is None:
            noted = {}
            setattr(p, _NOTED, noted)
        new = [note for note in dict.fromkeys(notes) if note not in noted]
        for note in new:
            noted[note] = None
            self.host.comment(p, note)
            _log.warning("%s", note)


_session: Session | None = None
"""Scripts are executed anew when a UI reloads, and must find the hooks and files of before."""


def the_session() -> Session:
    """The session of the WebUI that this Python runs."""
    global _session
    if _session is None:
        _session = Session(find_host())
    return _session


class _Run:
    """What one pass of one request uses."""

    def __init__(self, p: Processing, uses: Sequence[Use], clock: RunClock) -> None:
        self.p, self.uses, self.clock = p, tuple(uses), clock
        self._unet: ReferenceType[nn.Module] | None = None
        self.applied: list[str] = []

    @property
    def unet(self) -> nn.Module | None:
        """What is hooked. Not kept alive: hosts let go of a model to have the memory for its refiner."""
        return None if self._unet is None else self._unet()

    @unet.setter
    def unet(self, unet: nn.Module | None) -> None:
        self._unet = None if unet is None else ref(unet)

    @property
    def nbytes(self) -> int:
        return sum(network.nbytes for network in {id(use.network): use.network for use in self.uses}.values())


_NOTED = "_hypernet_noted"
"""On a host's p: the notes it was given, so that each is said once."""


def _hires(p: Processing) -> bool:
    return bool(getattr(p, "is_hr_pass", False))


def _with(prompt: str, tag: str) -> str:
    return prompt if tag in prompt else prompt + tag
