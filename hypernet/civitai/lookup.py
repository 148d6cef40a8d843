"""Looks up the user's own files on Civitai by hash: what they are, and whether there is a newer version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from hypernet.civitai.advice import Advice
from hypernet.civitai.answers import Model, Version, model_of
from hypernet.civitai.client import Civitai
from hypernet.civitai.get import add_preview, describe, plain_file
from hypernet.civitai.http import NotThere
from hypernet.civitai.progress import Cancelled, Watch
from hypernet.errors import HypernetError
from hypernet.library import Entry, Library, sidefiles


@dataclass(frozen=True)
class Looked:
    """What Civitai knows about one file."""

    entry: Entry
    sha256: str
    """The hash looked up: that of the file as it was downloaded, even if it was converted since."""
    model: Model | None
    version: Version | None
    """None for a file that is not on the site."""
    update: Version | None
    """The newest version for the same base that was published later."""
    advice: Advice
    notes: tuple[str, ...]
    """What did not work for this file, a sentence each."""

    @property
    def found(self) -> bool:
        """Whether the site knows the file."""
        return self.version is not None


def lookup(
    civitai: Civitai,
    library: Library,
    entries: Sequence[Entry] | None = None,
    *,
    write: bool = True,
    previews: bool = True,
    adult: bool = False,
    watch: Watch | None = None,
) -> list[Looked]:
    """Looks up files by hash: the given ones, or the whole library.

    A hundred files take one request for their versions and two for their models.
    write: add missing side files; what the user wrote is kept. A file that is not on the site gets an empty
    NAME.civitai.info, which other programs understand too. previews: download missing previews. adult: whether pictures
    for adults are fine. Raises CivitaiError if the site can't be reached, Cancelled; problems of single files become
    their `notes`.
    """
    watch = watch or Watch()
    entries = library.entries() if entries is None else entries
    digests = _digests(library, entries, watch)
    versions = civitai.by_hashes([digest for digest in digests.values() if digest], watch)
    models = _models(civitai, versions.values(), watch)
    made = []
    for number, (entry, digest) in enumerate(digests.items()):
        watch.report(f"Writing what Civitai says of {entry.name}" if write else "Comparing", number, len(digests))
        version = versions.get(digest)
        model = models.get(version.model_id) if version else None
        looked = Looked(entry, digest, model, version, _update(model, version), Advice(), ())
        made.append(_written(civitai, looked, watch, previews, adult) if write and digest else looked)
    if write:
        library.scan()
    return made


def _digests(library: Library, entries: Sequence[Entry], watch: Watch) -> dict[Entry, str]:
    """sha256 of each file as it was downloaded; empty for one that can't be read."""
    digests = {}
    for number, entry in enumerate(entries):
        watch.report(f"Hashing {entry.name}", number, len(entries))
        try:
            digests[entry] = sidefiles.recommended(entry.path, plain_file).source.sha256 or library.sha256(entry) or ""
        except HypernetError:
            digests[entry] = ""
    return digests


def _models(civitai: Civitai, versions: Iterable[Version], watch: Watch) -> dict[int, Model]:
    """The versions' models, by number. Those that the site no longer shows are left out."""
    watch.report("Asking Civitai for descriptions", 0, None)
    wanted = {version.model_id for version in versions}
    found = civitai.models(wanted, watch)
    for number in sorted(wanted - found.keys()):  # not listed, but still there under its number
        with suppress(NotThere):
            found[number] = civitai.model(number, watch)
    return found


def _update(model: Model | None, version: Version | None) -> Version | None:
    """The newest version for the same base that is newer than this one."""
    if model is None or version is None or not version.published:
        return None
    later = [
        other
        for other in model.versions
        if other.published > version.published and other.base == version.base and other.id != version.id
    ]
    return max(later, key=lambda other: other.published, default=None)


def _written(civitai: Civitai, looked: Looked, watch: Watch, previews: bool, adult: bool) -> Looked:
    """Writes the side files. Errors become notes."""
    path, version, notes, said = looked.entry.path, looked.version, [], Advice()
    try:
        if version is None:
            if not path.with_name(f"{path.stem}.civitai.info").exists():
                sidefiles.write_civitai_info(path, {}, plain_file)
            return looked
        file = next(file for file in version.files if file.sha256 == looked.sha256)
        said = describe(path, looked.model or model_of(version), version, file, civitai.http.site)
        if previews:
            add_preview(civitai, path, version, watch, adult=adult)
    except Cancelled:
        raise
    except HypernetError as error:
        notes.append(str(error))
    return replace(looked, advice=said, notes=tuple(notes))
