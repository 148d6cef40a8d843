"""Civitai's API: search, models, versions, files by hash, pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from hypernet.civitai import answers
from hypernet.civitai.answers import Image, Model, Page, Version
from hypernet.civitai.connection import CivitaiError
from hypernet.civitai.http import Http, NotThere
from hypernet.civitai.progress import Watch
from hypernet.civitai.reference import Reference

SITE = "https://civitai.com"
"""The site's address."""
SORTS = ("Most Downloaded", "Highest Rated", "Newest")
"""The sort orders that the site has."""
PERIODS = ("AllTime", "Year", "Month", "Week", "Day")
"""The periods that the site counts downloads over."""
BASES = ("SD 1.4", "SD 1.5", "SD 2.0", "SD 2.0 768", "SD 2.1", "SD 2.1 768", "SDXL 1.0")
"""The bases that hypernetworks are made for, as the site writes them."""
MAX_PICTURE = 16 << 20
"""Bytes of a preview."""
T = TypeVar("T")
"""The type of what an answer holds."""
_KEYS = ("CIVITAI_API_KEY", "CIVITAI_TOKEN")
_HASHES_AT_ONCE = 100  # the site refuses more
_MODELS_AT_ONCE = 50


def key_from_environment() -> str:
    """The user's API key: CIVITAI_API_KEY or CIVITAI_TOKEN; empty without."""
    return next((value for name in _KEYS if (value := os.environ.get(name, "").strip())), "")


def site_from_environment() -> str:
    """The site's origin: CIVITAI_SITE, or civitai.com."""
    return os.environ.get("CIVITAI_SITE", "").strip() or SITE


@dataclass(frozen=True)
class Search:
    """What a search asks for."""

    text: str = ""
    tag: str = ""
    creator: str = ""
    base: str = ""
    """One of BASES; empty for all."""
    sort: str = SORTS[0]
    period: str = PERIODS[0]
    adult: bool = False
    """Whether models for adults are listed as well."""
    limit: int = 20
    """Models on a page, 1 to 100."""


class Civitai:
    """A client of one site. It goes online only when a method is called.

    key: the user's API key; sent to `site` only, and never shown. site: origin. http: for tests.
    Methods raise CivitaiError (NotThere, KeyNeeded, Interrupted, Refused) with a sentence for the user, and Cancelled.
    """

    def __init__(self, key: str = "", site: str = SITE, *, http: Http | None = None) -> None:
        self.http = http or Http(site, key)

    def __enter__(self) -> Civitai:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that were kept open."""
        self.http.close()

    def search(self, search: Search, cursor: str = "", watch: Watch | None = None) -> Page:
        """A page of hypernetworks. cursor: from the page before."""
        if search.sort not in SORTS or search.period not in PERIODS:
            raise CivitaiError(f"Civitai sorts by {', '.join(SORTS)}, over {', '.join(PERIODS)}.")
        wanted = {"query": search.text, "tag": search.tag, "username": search.creator, "baseModels": search.base}
        query = [("types", answers.KIND), ("limit", str(min(max(search.limit, 1), 100)))]
        query += [("sort", search.sort), ("period", search.period), ("nsfw", "true" if search.adult else "false")]
        query += [(name, value.strip()) for name, value in wanted.items() if value.strip()]
        query += [("cursor", cursor)] if cursor else []
        return answers.page(self.http.get_json("/api/v1/models", query, watch))

    def model(self, number: int, watch: Watch | None = None) -> Model:
        """The model with this number."""
        return _there(answers.model(self.http.get_json(f"/api/v1/models/{number}", (), watch)))

    def models(self, numbers: Iterable[int], watch: Watch | None = None) -> dict[int, Model]:
        """Many models in few requests, by number. Those that the site doesn't list are left out."""
        wanted = sorted(set(numbers))
        found: dict[int, Model] = {}
        for start in range(0, len(wanted), _MODELS_AT_ONCE):
            some = ",".join(map(str, wanted[start : start + _MODELS_AT_ONCE]))
            query = [("ids", some), ("limit", "100"), ("nsfw", "true")]
            page = answers.page(self.http.get_json("/api/v1/models", query, watch))
            found.update((model.id, model) for model in page.models if model.id in wanted)
        return found

    def version(self, number: int, watch: Watch | None = None) -> Version:
        """The version with this number."""
        return _there(answers.version(self.http.get_json(f"/api/v1/model-versions/{number}", (), watch)))

    def by_hash(self, digest: str, watch: Watch | None = None) -> Version:
        """The version that has a file with this hash: sha256, its first ten digits, or another that the site knows."""
        return _there(answers.version(self.http.get_json(f"/api/v1/model-versions/by-hash/{digest}", (), watch)))

    def by_hashes(self, digests: Sequence[str], watch: Watch | None = None) -> dict[str, Version]:
        """Versions by the sha256 of one of their files, a hundred per request. Unknown hashes are left out."""
        watch = watch or Watch()
        wanted = list(dict.fromkeys(digest.lower() for digest in digests))
        found: dict[str, Version] = {}
        for start in range(0, len(wanted), _HASHES_AT_ONCE):
            watch.report("Asking Civitai", start, len(wanted))
            some = wanted[start : start + _HASHES_AT_ONCE]
            answer = self.http.post_json("/api/v1/model-versions/by-hash", [one.upper() for one in some], watch)
            if not isinstance(answer, list):
                raise CivitaiError("Civitai did not answer with a list: try again later.")
            for version in map(answers.version, answer):
                for digest in some:
                    if version is not None and version.holds(digest):
                        found[digest] = _older(found.get(digest), version)
        return found

    def resolve(self, wanted: Reference, watch: Watch | None = None) -> tuple[Model, Version]:
        """The model and the version that a reference means; the newest version if it names none."""
        if wanted.version is None and not wanted.hash and wanted.model is not None:
            model = self.model(wanted.model, watch)
            if not model.versions:
                raise NotThere(f"{model.name} has no version that can be downloaded.")
            return model, model.versions[0]
        version = self.by_hash(wanted.hash, watch) if wanted.hash else self.version(wanted.version or 0, watch)
        if wanted.model is not None and version.model_id != wanted.model:
            raise NotThere(f"Civitai's model {wanted.model} has no version {version.id}.")
        return self._model_of(version, watch), version

    def picture(self, image: Image, watch: Watch | None = None) -> tuple[bytes, str]:
        """A preview, scaled down if the site can do that: its bytes, and the suffix that fits them."""
        small = image.url.replace("/original=true/", "/width=512/", 1)
        for url in dict.fromkeys((small, image.url)):
            try:
                content = self.http.content(url, MAX_PICTURE, watch)
            except NotThere:
                continue
            if suffix := _picture_suffix(content):
                return content, suffix
        raise CivitaiError("The preview is no picture that is shown: PNG, JPEG, WebP or GIF.")

    def _model_of(self, version: Version, watch: Watch | None) -> Model:
        """The version's model; if the site no longer shows it, what the version says about it."""
        try:
            return self.model(version.model_id, watch)
        except NotThere:
            return answers.model_of(version)


def _there(found: T | None) -> T:
    if found is None:
        raise CivitaiError("Civitai's answer tells nothing of a model: try again later.")
    return found


def _older(one: Version | None, other: Version) -> Version:
    """Of two versions with the same file the one published first: others upload copies."""
    return other if one is None or (other.published, other.id) < (one.published, one.id) else one


def _picture_suffix(content: bytes) -> str:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if content.startswith(b"\xff\xd8\xff"):
        return ".jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    return ".webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ""
