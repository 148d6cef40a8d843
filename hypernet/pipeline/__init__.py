"""Hypernetworks in diffusers pipelines, and pipelines from single checkpoint files. No WebUI here."""

from __future__ import annotations

from hypernet.pipeline.checkpoint import load_pipeline
from hypernet.pipeline.hypernetworks import Hypernetworks

__all__ = ["Hypernetworks", "load_pipeline"]
