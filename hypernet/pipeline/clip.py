"""The files of CLIP's tokenizer, made from the merges that come with this package (`configs/clip_merges.txt.gz`).

SD1, SD2 and SDXL all have this vocabulary; they differ only in the padding token.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

MERGES = Path(__file__).parent / "configs" / "clip_merges.txt.gz"
"""The file of the tokenizer's merges."""
START, END = "<|startoftext|>", "<|endoftext|>"
"""The tokens around a text."""


def byte_letters() -> list[str]:
    """The 256 letters a byte-level vocabulary begins with: printable Latin-1 as it is, the other bytes from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(others)]


def read_merges() -> list[str]:
    """The merges in order of rank, each `left right`; 48,894 of them."""
    return gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()


def vocabulary(merges: list[str]) -> dict[str, int]:
    """Token -> id, 49,408 of them: letters, letters that end a word, one token for each merge, start and end."""
    letters = byte_letters()
    endings = [letter + "</w>" for letter in letters]
    joined = [merge.replace(" ", "") for merge in merges]
    return {token: index for index, token in enumerate([*letters, *endings, *joined, START, END])}


def write_tokenizer(folder: Path, pad_token: str = END) -> None:
    """Writes what `transformers.CLIPTokenizer.from_pretrained(folder)` reads. pad_token: fills up short texts."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = read_merges()
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": pad_token,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(vocabulary(merges)), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
