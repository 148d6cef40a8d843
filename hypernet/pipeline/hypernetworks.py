"""Hypernetwork tags in the prompts of a diffusers pipeline.

    pipe = Hypernetworks(load_pipeline("model.safetensors"), "models/hypernetworks")
    image = pipe("a cat <hypernet:ink:0.7>", num_inference_steps=20).images[0]

Works on every pipeline with an SD1, SD2 or SDXL UNet: text to image, image to image, inpainting, ControlNet, ...
"""

from __future__ import annotations

import copy
import inspect
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from hypernet.applied import Applied
from hypernet.engine import Engine
from hypernet.errors import HypernetError
from hypernet.library import Library
from hypernet.pipeline.checkpoint import load_pipeline
from hypernet.pipeline.clock import PipelineClock
from hypernet.plan import Use
from hypernet.sites import fused
from hypernet.tags import Tag, parse

__all__ = ["Hypernetworks", "load_pipeline"]

_log = logging.getLogger("hypernet")


class Hypernetworks:
    """A pipeline that understands `<hypernet:NAME:STRENGTH>` in its prompts; otherwise it acts as the pipeline itself.

    Attributes of the pipeline are read and set through it (`pipe.scheduler = ...`), and it is called with the
    pipeline's own arguments. Between two calls the pipeline is as it was: no hook, no changed weight.
    `from_pipe` makes a plain pipeline of it: wrap that one too.
    Calls from several threads take turns; each thread sees the notes of its own last call.
    """

    pipe: Any
    _own = frozenset({"pipe", "library", "notes", "applied", "_engine", "_last"})

    def __init__(self, pipe: Any, folders: Library | str | Path | Sequence[str | Path]) -> None:
        """folders: where hypernetwork files are, subfolders included; or an existing library."""
        if isinstance(folders, (str, Path)):
            folders = [folders]
        self.pipe = pipe.pipe if isinstance(pipe, Hypernetworks) else pipe
        self.library = folders if isinstance(folders, Library) else Library(folders)
        self._engine = Engine()
        self._last = _LastCall()

    @property
    def notes(self) -> tuple[str, ...]:
        """What did not work in this thread's last call, a sentence each; also logged as warnings under `hypernet`."""
        return self._last.notes

    @property
    def applied(self) -> tuple[Use, ...]:
        """The networks that acted in this thread's last call."""
        return self._last.applied

    def __call__(self, *args: Any, hypernetworks: str = "", **kwargs: Any) -> Any:
        """Calls the pipeline; returns what it returns.

        hypernetworks: further tags, for calls without a prompt (`prompt_embeds=...`).
        Raises HypernetError where tags can't be followed: different tags in one batch, or fused projections.
        """
        call = inspect.signature(self.pipe.__call__).bind_partial(*args, **kwargs)
        tags, notes = _take_tags(call.arguments, hypernetworks)
        self._last.applied = ()
        try:
            with _turn(getattr(self.pipe, "unet", None)), self._attached(tags, notes):
                return self.pipe(*call.args, **call.kwargs)
        finally:
            self._last.notes = tuple(dict.fromkeys(notes))
            for note in self.notes:
                _log.warning("%s", note)

    @contextmanager
    def _attached(self, tags: Sequence[Tag], notes: list[str]) -> Iterator[None]:
        """The tags on the pipeline's UNet. Adds to `notes` what did not work, also during the run."""
        applied = Applied(tags, self.library.open, self._engine, PipelineClock(self.pipe))
        notes.extend(applied.notes)
        unet = getattr(self.pipe, "unet", None)
        if not isinstance(unet, nn.Module) or not applied.uses:
            if applied.uses:
                notes.append("This pipeline has no UNet: hypernetworks have no effect on it.")
            yield
            return
        with _uncompiled(unet, notes) as unet:
            _refuse_fused(unet)
            applied.attach(unet)
            self._last.applied = applied.acting
            try:
                yield
            finally:
                applied.detach()
                notes.extend((*applied.notes, *applied.afterwards))

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The pipeline's class, so that diffusers' `from_pipe` accepts this object; what it makes has no tags."""
        return type(self.pipe)

    def __copy__(self) -> Hypernetworks:
        """A wrapper of the same pipeline and library."""
        return Hypernetworks(self.pipe, self.library)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hypernetworks:
        """A wrapper of a copy of the pipeline, with the same library."""
        return Hypernetworks(copy.deepcopy(self.pipe, memo), self.library)

    def to(self, *args: Any, **kwargs: Any) -> Hypernetworks:
        """The pipeline's `to`, on the pipeline itself."""
        self.pipe.to(*args, **kwargs)
        return self

    def __getattr__(self, name: str) -> Any:
        if name in Hypernetworks._own:  # only before __init__ has set it, as in copy and pickle
            raise AttributeError(name)
        return getattr(self.pipe, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Hypernetworks._own:
            super().__setattr__(name, value)
        else:
            setattr(self.pipe, name, value)

    def __repr__(self) -> str:
        return f"Hypernetworks({type(self.pipe).__name__}, {[str(folder) for folder in self.library.folders]})"


class _LastCall(threading.local):
    """Notes and networks of a thread's last call."""

    notes: tuple[str, ...] = ()
    applied: tuple[Use, ...] = ()


_turns: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()
"""UNet -> the lock for drawing with it: several pipelines may share one."""
_turns_lock = threading.Lock()


def _turn(unet: Any) -> AbstractContextManager[object]:
    """The lock to hold while drawing with a UNet: hooks and scheduler are for one call at a time."""
    if not isinstance(unet, nn.Module):
        return nullcontext()
    with _turns_lock:
        return _turns.setdefault(unet, threading.RLock())


def _take_tags(arguments: dict[str, Any], further: str) -> tuple[tuple[Tag, ...], list[str]]:
    """Removes the tags from the prompts in a call's arguments. Returns them, with notes on those that are left out."""
    notes: list[str] = []
    tags = _take_from(arguments, "prompt", notes)
    tags += tuple(tag for tag in _take_from(arguments, "prompt_2", notes) if tag not in tags)  # often the same text
    for name in ("negative_prompt", "negative_prompt_2"):
        for tag in _take_from(arguments, name, notes):
            notes.append(f"{tag.text} is in the negative prompt, where it does nothing: write it in the prompt.")
    extra = parse(further)
    notes.extend((*map(str, extra.problems), *extra.notes))
    return tags + extra.tags, notes


def _take_from(arguments: dict[str, Any], name: str, notes: list[str]) -> tuple[Tag, ...]:
    prompt = arguments.get(name)
    texts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, (list, tuple)):
        return ()
    parsed = [parse(text) for text in texts]
    arguments[name] = parsed[0].text if isinstance(prompt, str) else [part.text for part in parsed]
    notes.extend(note for part in parsed for note in (*map(str, part.problems), *part.notes))
    sets = dict.fromkeys(part.tags for part in parsed)
    if len(sets) > 1:
        raise HypernetError(
            "The prompts of one call must ask for the same hypernetworks: call the pipeline once for each set of tags."
        )
    return next(iter(sets), ())


def _refuse_fused(unet: nn.Module) -> None:
    if fused(unet):
        raise HypernetError(
            "Hypernetworks can't act on fused projections: call pipe.unfuse_qkv_projections() first, "
            "or leave the hypernetwork tags out."
        )


@contextmanager
def _uncompiled(unet: nn.Module, notes: list[str]) -> Iterator[nn.Module]:
    """The UNet with torch.compile turned off: compiled code ignores hooks that are added later."""
    inner = getattr(unet, "_orig_mod", unet)
    if inner is unet and not any(getattr(module, "_compiled_call_impl", None) for module in unet.modules()):
        yield unet
        return
    set_stance = getattr(torch.compiler, "set_stance", None)
    if set_stance is None:
        raise HypernetError(
            "Hypernetworks can't act on a compiled UNet with torch before 2.6: use the one you compiled."
        )
    notes.append("The UNet ran without torch.compile, because compiled code leaves no room for hypernetworks.")
    with set_stance("force_eager"):
        yield inner
