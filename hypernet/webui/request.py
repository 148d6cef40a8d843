"""One request for pictures: what it has opened so far, and what its user was told."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hypernet.library import Entry
from hypernet.webui import infotext
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.host import Host, Processing

if TYPE_CHECKING:
    from hypernet.applied import Applied
    from hypernet.network import Network
    from hypernet.tags import Tag

_log = logging.getLogger("hypernet")

_ON_P = "_hypernet_request"
"""On a host's p, whose class can't be a dictionary's key: its `Request`."""


class Request:
    """A request draws all its pictures with the files it began with, and says each thing once."""

    def __init__(self, p: Processing, host: Host, catalogue: Catalogue) -> None:
        self.p = p
        self.notes: dict[str, None] = {}
        self.clock = host.new_clock(p)
        self.applied: dict[tuple[Tag, ...], Applied] = {}
        """What was asked for since the last first pass began: hires, regions and all."""
        self._host, self._catalogue = host, catalogue
        self._opened: dict[str, tuple[Network, Entry | None]] = {}
        self._digests: dict[str, str | None] = {}

    @classmethod
    def of(cls, p: Processing, host: Host, catalogue: Catalogue) -> Request:
        """The request that p is. Copies of p, which hosts make for the cells of a plot, are requests of their own."""
        found = getattr(p, _ON_P, None)
        return found if isinstance(found, cls) and found.p is p else cls.begin(p, host, catalogue)

    @classmethod
    def begin(cls, p: Processing, host: Host, catalogue: Catalogue) -> Request:
        """A new one: p is about to be drawn, maybe not for the first time."""
        request = cls(p, host, catalogue)
        setattr(p, _ON_P, request)
        return request

    def __deepcopy__(self, memo: object) -> Request:
        return self

    def begin_pictures(self) -> None:
        """The first pass of further pictures begins. What the ones before had open stays open, and nothing else."""
        names = {use.tag.name for applied in self.applied.values() for use in applied.uses}
        self._opened = {name: found for name, found in self._opened.items() if name in names}
        self.applied.clear()

    @property
    def used(self) -> set[str]:
        """Names of the networks that acted in the last pictures."""
        return {use.tag.name for applied in self.applied.values() for use in applied.acting}

    def open(self, name: str) -> Network:
        """The network that a tag means by `name`. Raises HypernetError."""
        if name not in self._opened:
            library = self._catalogue.library
            self._opened[name] = library.open(name), library.find(name)
        return self._opened[name][0]

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Name -> sha256 of those opened, as far as hashing is allowed."""
        found = {name: self._digest(name) for name in names}
        return {name: digest for name, digest in found.items() if digest is not None}

    def _digest(self, name: str) -> str | None:
        if name not in self._digests:
            _, entry = self._opened.get(name, (None, None))
            self._digests[name] = None if entry is None else self._catalogue.sha256(entry)
        return self._digests[name]

    def note_what_happened(self) -> None:
        """Says what only the finished picture shows: tags that never acted, and numbers that ran over."""
        if self.applied:
            first, *others = (applied.observed for applied in self.applied.values())
            tags = dict.fromkeys(use.tag for applied in self.applied.values() for use in applied.acting)
            self.note(sum(others, first).notes(tags))

    def note(self, texts: Iterable[str]) -> None:
        """Says each once: under the picture, in its parameters, and in the console."""
        for text in texts:
            if text not in self.notes:
                self.notes[text] = None
                self._host.add_comment(self.p, text)
                infotext.add_note(self._host.parameters(self.p), text)
                _log.warning("%s", text)
