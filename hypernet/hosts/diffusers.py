"""The documented import of the first release."""

from hypernet.pipeline import Hypernetworks, load_pipeline

__all__ = ["Hypernetworks", "load_pipeline"]
