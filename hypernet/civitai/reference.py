"""What a user types or pastes -> the model, version or file that it means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from hypernet.civitai.connection import CivitaiError
from hypernet.text import printable

SITES = ("civitai.com", "civitai.green", "civitai.red")
"""The site's host names. Whichever an address has, requests go only to the configured site."""

_MAX_ID = (1 << 31) - 1
_AIR = re.compile(r"(?:urn:)?air:[\w-]*:[\w-]*:civitai:(.+)", re.IGNORECASE)
_IDS = re.compile(r"(\d{1,10})?@(\d{1,10})")
_HASH = re.compile(r"(?:hash:|sha256:)?([0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{12}|[0-9a-f]{64})", re.IGNORECASE)
_PAGES = (
    re.compile(r"/(?:[a-z-]+/)?models/(?P<model>\d+)(?:/.*)?"),
    re.compile(r"/(?:[a-z-]+/)?model-versions/(?P<version>\d+)/?"),
    re.compile(r"/api/download/models/(?P<version>\d+)/?"),
    re.compile(r"/api/v1/models/(?P<model>\d+)/?"),
    re.compile(r"/api/v1/model-versions/(?P<version>\d+)/?"),
    re.compile(r"/api/v1/model-versions/by-hash/(?P<hash>[0-9A-Fa-f]+)/?"),
)


@dataclass(frozen=True)
class Reference:
    """What is meant: a version, the newest of a model, or the file with a hash."""

    model: int | None = None
    version: int | None = None
    hash: str = ""
    """Hex digits, lower case: sha256 or a shorter one that Civitai knows."""
    file: int | None = None
    """Which of a version's files, by its number."""
    format: str = ""
    """Which of a version's files, by its format: 'PickleTensor', 'SafeTensor'."""


def reference(text: str, site: str = "") -> Reference:
    """Reads an address, an id, `model@version`, `@version`, an AIR or a hash. Raises CivitaiError.

    site: origin in use, whose addresses are understood besides Civitai's.
    """
    typed = text.strip().strip("<>\"'")
    if air := _AIR.fullmatch(typed):
        typed = air[1]
    if ids := _IDS.fullmatch(typed):
        return Reference(_id(ids[1]) if ids[1] else None, _id(ids[2]))
    if typed.isascii() and typed.isdigit() and len(typed) <= 10 and int(typed) <= _MAX_ID:
        return Reference(_id(typed))
    if digest := _HASH.fullmatch(typed):
        return Reference(hash=digest[1].lower())
    if "/" in typed:
        return _from_address(typed, site)
    raise CivitaiError(
        f"“{printable(typed[:80])}” is none of what Civitai's files are called by: "
        "the address of a page or a download, an id, model@version, or a hash."
    )


def _from_address(typed: str, site: str) -> Reference:
    try:
        parts = urlsplit(typed if "://" in typed else f"https://{typed}")
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        host = ""
    if host not in (*SITES, urlsplit(site).hostname):
        raise CivitaiError(f"{printable(host) or 'This'} is not Civitai: only files from there can be fetched.")
    asked = {key: values[0] for key, values in parse_qs(parts.query).items()}  # a key in it (`token=`) is left behind
    found = next((match.groupdict() for page in _PAGES if (match := page.fullmatch(parts.path))), None)
    if found is None:
        raise CivitaiError("This is no address of a model on Civitai: it has /models/ and a number in it.")
    version = found.get("version") or asked.get("modelVersionId", "")
    return Reference(
        model=_id(found["model"]) if found.get("model") else None,
        version=_id(version) if version else None,
        hash=(found.get("hash") or "").lower(),
        file=_id(asked["fileId"]) if asked.get("fileId") else None,
        format=asked.get("format", "")[:40],
    )


def _id(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and 0 < int(digits) <= _MAX_ID):
        raise CivitaiError(f"“{printable(digits[:40])}” is no number that Civitai gives to a model.")
    return int(digits)
