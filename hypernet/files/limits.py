"""How much a file may hold: small multiples of what real hypernetworks need. docs/format.md states them."""

from __future__ import annotations

MAX_FILE = 4 << 30
"""Bytes of a file. The largest network with its optimizer has 1.3 GB."""
MAX_WEIGHTS = 2 << 30
"""Bytes of all weights together. The largest network anybody made has 440 MB."""
MAX_LAYER_TENSORS = 512
"""Named tensors of one net. Usual ones have 4 to 16."""

HEAD = 512
"""Bytes that tell what kind of file it is."""

MAX_HEADER = 1 << 20
"""Bytes of a safetensors header. Ours have some 3 thousand."""
MAX_HEADER_VALUES = 40_000
"""Values in a safetensors header, as its brackets and commas tell."""

MAX_PICKLE = 1 << 20
"""Bytes of one pickle. That of a usual hypernetwork has a few thousand."""
MAX_OPERATIONS = 100_000
"""Instructions of one pickle."""

MAX_RECORDS = 10_000
"""Records in a zip archive."""
MAX_DIRECTORY = 1 << 20
"""Bytes of a zip archive's directory."""

MAX_TEXT = 1 << 16
"""Characters of one text."""
MAX_BITS = 128
"""Of a whole number."""
MAX_EXTRA_VALUES = 100_000
"""Numbers, texts, lists and tables kept from unknown keys."""

CHECKED_WHEN_MAPPED = 1 << 20
"""Bytes up to which every weight of a mapped `.safetensors` is looked at: beyond, that takes longer than mapping."""
