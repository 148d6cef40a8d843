"""Bytes on disk -> `Network`, and back."""

from __future__ import annotations

from hypernet.files.reading import load, peek
from hypernet.files.summary import Summary
from hypernet.files.writing import save

__all__ = ["Summary", "load", "peek", "save"]
