"""The files there are, for everything that lists, finds or describes them: pages, API, plot axes, infotext."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from hypernet.errors import HypernetError
from hypernet.library import Entry, Library
from hypernet.webui.facts import Facts, FactsCache
from hypernet.webui.memory import Memory
from hypernet.webui.settings import Settings

CACHE_FILE = "hypernet.sqlite"
"""In the host's folder for caches: the digests of files."""
FACTS_FILE = "hypernet-facts.json"
"""In the host's folder for caches: what files hold."""
MEMORY_FILE = "hypernet-cards.json"
"""In the host's folder for caches: favourites and uses."""


class Places(Protocol):
    """Where a host keeps files and settings, and where it wants to be told of files."""

    def model_dirs(self) -> Sequence[Path]:
        """The folders for hypernetwork files, made if missing."""
        ...

    def cache_dir(self) -> Path | None:
        """Where caches may be written."""
        ...

    def may_hash(self) -> bool:
        """False where the user forbade hashing (`--no-hashing`)."""
        ...

    def option(self, key: str, default: Any) -> Any:
        """A setting of the host, or of ours in it; the default where there is none of that name."""
        ...

    def publish(self, files: Mapping[str, str]) -> None:
        """Shows name -> path to other extensions and to the host's own API and lists."""
        ...

    def model_base(self) -> str:
        """The loaded checkpoint's base, as `Network.base` names it; 'unknown' for none or another kind."""
        ...


class Catalogue:
    """One WebUI's hypernetwork files and the settings that say where they are and how strong they begin."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._library: Library | None = None
        self._facts: FactsCache | None = None
        self._memory: Memory | None = None
        self._made_of: tuple[tuple[Path, ...], int] | None = None
        self._published: tuple[Entry, ...] | None = None

    @property
    def settings(self) -> Settings:
        """As they are now."""
        return Settings.read(self._places.option)

    @property
    def library(self) -> Library:
        """Made anew when the settings changed what it would be made of."""
        settings = self.settings
        folders = tuple(dict.fromkeys([*self._places.model_dirs(), *settings.folders]))
        made_of = (folders, settings.keep)
        if self._library is None or self._made_of != made_of:
            self.close()
            cache = self._places.cache_dir()
            path = None if cache is None else cache / CACHE_FILE
            self._library, self._made_of = Library(folders, path, keep=settings.keep), made_of
        return self._library

    @property
    def strength(self) -> float:
        """What a card's tag begins with."""
        return self.settings.strength or float(self.option("extra_networks_default_multiplier", 1.0))

    def option(self, key: str, default: Any) -> Any:
        """A setting of the host; the default where there is none of that name."""
        return self._places.option(key, default)

    @property
    def model_base(self) -> str:
        """The loaded checkpoint's base: 'SD1', 'SD2', 'SDXL' or 'unknown'."""
        return self._places.model_base()

    def entries(self) -> tuple[Entry, ...]:
        """Every file, sorted by name."""
        return self.library.entries()

    def names(self) -> tuple[str, ...]:
        """Every file's name in a tag."""
        return self.library.names()

    def find(self, name: str) -> Entry | None:
        """The file that a tag means by `name`; None when there is none, or when several could be meant."""
        return self.library.find(name)

    def facts(self, entry: Entry) -> Facts:
        """What the file holds, read if need be."""
        return self._facts_cache.get(entry)

    def facts_if_known(self, entry: Entry) -> Facts | None:
        """What the file holds if it was read before; otherwise it is read in the background."""
        found = self._facts_cache.known(entry)
        if found is None:
            self._facts_cache.read_later([entry])
        return found

    @property
    def _facts_cache(self) -> FactsCache:
        if self._facts is None:
            cache = self._places.cache_dir()
            self._facts = FactsCache(None if cache is None else cache / FACTS_FILE)
        return self._facts

    @property
    def memory(self) -> Memory:
        """Favourites and uses."""
        if self._memory is None:
            cache = self._places.cache_dir()
            file = None if cache is None else cache / MEMORY_FILE
            self._memory = Memory(file, lambda entry: self.library.sha256_if_known(entry))
        return self._memory

    def note_use(self, names: Iterable[str]) -> None:
        """Pictures were drawn with the networks of these names."""
        entries = [entry for name in names if (entry := self.find(name)) is not None]
        if entries:
            self.memory.note_use(entries)

    def refresh(self) -> None:
        """Lists the folders anew."""
        self.library.scan()
        self.publish()

    def files(self) -> dict[str, str]:
        """Name -> path."""
        return {entry.name: entry.shown_path for entry in self.entries()}

    def publish(self) -> None:
        """Lets the rest of the host know of every file there is now."""
        entries = self.entries()
        if entries is not self._published:
            self._published = entries
            self._places.publish(self.files())

    def sha256(self, entry: Entry) -> str | None:
        """64 hex digits; None where hashing is forbidden or the file can't be read any more."""
        library = self.library
        if not self._places.may_hash():
            return library.sha256_if_known(entry)
        try:
            return library.sha256(entry)
        except HypernetError:
            return None

    def close(self) -> None:
        """Lets go of the networks in memory and of the cache file."""
        self._published = None
        if self._library is not None:
            self._library.close()
            self._library = None
