"""What the browser's scripts know of each network, and what they ask about a prompt. Plain data for JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hypernet.errors import HypernetError
from hypernet.library import Entry
from hypernet.tags import TAG_PATTERN, BadTag, parse_items
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.facts import Facts, line

PREVIEW_ROUTE = "hypernet/v1/preview"
"""Where a card's picture is, seen from the page."""

_MISNAMED = re.compile(r"<(?:hypernetworks?|hypernets|hn):([^<>]*)>", re.IGNORECASE)
_SPLIT = re.compile(r"[,\n]")


class Cards:
    """The cards as they are now: what counts for all of them is looked up once, as there may be thousands."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.library, self._strength, self._base = catalogue.library, catalogue.strength, catalogue.model_base
        self._memory = catalogue.memory

    def all(self) -> list[dict[str, Any]]:
        """Every network, in the order of the page."""
        return [self.card(entry) for entry in self.library.entries()]

    def card(self, entry: Entry) -> dict[str, Any]:
        """One network; `known` is false while its file is still to be read."""
        told = self._catalogue.facts_if_known(entry)
        user, maker = self.library.user_metadata(entry), self.library.recommended(entry)
        own, kept = self.base(entry, told), self._memory.of(entry)
        return {
            "name": entry.name,
            "known": told is not None,
            "base": own,
            "fits": None if "unknown" in (own, self._base) else own == self._base,
            "problem": (told or {}).get("problem"),
            "line": "" if told is None else line(told, entry.stamp.size),
            "steps": (told or {}).get("steps"),
            "free": (told or {}).get("free while drawing"),
            "size": entry.stamp.size,
            "words": self.words(entry),
            "negative": user.negative_text,
            "strength": user.preferred_weight or self._strength,
            "range": maker.range,
            "sampler": maker.sampler,
            "cfg": maker.cfg,
            "sampling steps": maker.steps,
            "tags": maker.tags,
            "notes": user.notes,
            "preview": self.preview_url(entry),
            "hash": self.library.sha256_if_known(entry),
            "favourite": kept.get("favourite", False),
            "used": kept.get("used", 0),
        }

    def words(self, entry: Entry) -> list[str]:
        """The trigger words: what the user noted, else what Civitai's file says."""
        user = self.library.user_metadata(entry)
        if user.activation_text:
            return [word.strip() for word in _SPLIT.split(user.activation_text) if word.strip()]
        civitai = self.library.civitai_info(entry)
        return list(civitai.trained_words) if civitai is not None else []

    def base(self, entry: Entry, told: Facts | None) -> str:
        """What the file shows, else what the user or Civitai says of it."""
        found = str((told or {}).get("base", "unknown"))
        if found != "unknown":
            return found
        noted = self.library.user_metadata(entry).sd_version
        if noted in ("SD1", "SD2", "SDXL"):
            return noted
        civitai = self.library.civitai_info(entry)
        written = civitai.base_model.upper().replace(" ", "") if civitai is not None else ""
        return next((base for base in ("SDXL", "SD2", "SD1") if written.startswith(base)), "unknown")

    def preview_url(self, entry: Entry) -> str:
        """The card's picture, drawn where the user has none. It changes when the picture does."""
        file = self.library.preview(entry)
        try:
            changed = int(file.stat().st_mtime) if file is not None else 0
        except OSError:
            changed = 0
        return f"./{PREVIEW_ROUTE}?name={_percent(entry.name)}&changed={changed}"


def as_json(content: object) -> tuple[bytes, str]:
    """The content as JSON, and an ETag that changes whenever it does."""
    text = json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return text, f'"{hashlib.sha256(text).hexdigest()[:16]}"'


def check(catalogue: Catalogue, prompt: str) -> list[dict[str, Any]]:
    """What can't work in a prompt, with its place: {start, end, text, reason, suggestions: [{label, text}]}.

    start, end: in UTF-16 units, as JavaScript counts.
    """
    base = catalogue.model_base
    problems = [*_misnamed(prompt), *_unusable(catalogue, prompt, base)]
    return [{**problem, **_span(prompt, problem.pop("span"))} for problem in problems]


def _misnamed(prompt: str) -> Iterator[dict[str, Any]]:
    for match in _MISNAMED.finditer(prompt):
        right = f"<hypernet:{match[1]}>"
        yield _problem(match, "The tag is written <hypernet:NAME:STRENGTH>.", {right: right})


def _unusable(catalogue: Catalogue, prompt: str, base: str) -> Iterator[dict[str, Any]]:
    for match in TAG_PATTERN.finditer(prompt):
        tag = parse_items(match[1].split(":"))
        if isinstance(tag, BadTag):
            yield _problem(match, tag.reason[:1].upper() + tag.reason[1:], {})
            continue
        entry = catalogue.find(tag.name)
        rest = match[1].partition(":")[2]
        if entry is None:
            try:
                catalogue.library.open(tag.name)
            except HypernetError as error:
                names = catalogue.library.suggest(tag.name)
                meant = {name: f"<hypernet:{name}:{rest or '1'}>" for name in names}
                yield _problem(match, str(error).partition(" Did you mean")[0], meant)
            continue
        told = catalogue.facts(entry)
        own = Cards(catalogue).base(entry, told)
        if "problem" in told:
            yield _problem(match, str(told["problem"]), {})
        elif "unknown" not in (own, base) and own != base:
            yield _problem(match, f"{tag.name} was made for {own}; the loaded checkpoint is {base}.", {})


def _problem(match: re.Match[str], reason: str, suggestions: Mapping[str, str]) -> dict[str, Any]:
    listed = [{"label": label, "text": text} for label, text in suggestions.items()]
    return {"span": match.span(), "text": match[0], "reason": reason, "suggestions": listed}


def _span(text: str, span: tuple[int, int]) -> dict[str, int]:
    start, end = (len(text[:place].encode("utf-16-le", "surrogatepass")) // 2 for place in span)
    return {"start": start, "end": end}


def _percent(text: str) -> str:
    """The text for an address, each byte as %XX."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))
