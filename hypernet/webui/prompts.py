"""What stands in the prompts of a batch and does not count, in sentences for whoever wrote it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from hypernet.tags import TAG_PATTERN, prompt_notes
from hypernet.text import printable

_OPENING = "<hypernet:"
_MOST = 3
"""Sentences of one kind."""


def notes(prompts: Sequence[str], negative_prompts: Sequence[str], asked: Collection[str]) -> Iterator[str]:
    """prompts, negative_prompts: of a batch, as typed. asked: the tags, as typed, that the host says are asked for."""
    texts, negative_texts = dict.fromkeys(prompts), dict.fromkeys(negative_prompts)
    for text in texts:
        yield from prompt_notes(text)
    tags = {tag: None for text in texts for tag in _tags(text)}
    for tag in islice((tag for tag in tags if not tag.startswith(_OPENING)), _MOST):
        yield f"{_short(tag)} is not read: write {_OPENING} in small letters."
    if len(texts) > 1:
        for tag in islice((tag for tag in tags if tag.startswith(_OPENING) and tag not in asked), _MOST):
            yield (
                f"{_short(tag)} did nothing: all pictures of a batch have the hypernetworks of one prompt. "
                "Set the batch size to 1, and the batch count to what it was."
            )
    negative_tags = {tag: None for text in negative_texts for tag in _tags(text)}
    for tag in islice(negative_tags, _MOST):
        yield f"{_short(tag)} is in the negative prompt, where it does nothing: write it in the prompt."


def _tags(text: str) -> Iterator[str]:
    return (match[0] for match in TAG_PATTERN.finditer(text))


def _short(tag: str, limit: int = 80) -> str:
    shown = printable(tag)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
