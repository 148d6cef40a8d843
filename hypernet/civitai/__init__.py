"""Hypernetworks from Civitai, and what Civitai knows about the user's own. Only calls of these functions go online.

with Civitai(key_from_environment()) as civitai:
    page = civitai.search(Search(text="ink"))
    got = get(civitai, "https://civitai.com/models/4", Path("models/hypernetworks"), watch=Watch(print))
    looked = lookup(civitai, Library(["models/hypernetworks"]))
"""

from __future__ import annotations

from hypernet.civitai.advice import Advice, advice
from hypernet.civitai.answers import File, Image, Model, Page, Version
from hypernet.civitai.client import (
    BASES,
    PERIODS,
    SITE,
    SORTS,
    Civitai,
    Search,
    key_from_environment,
    site_from_environment,
)
from hypernet.civitai.connection import CivitaiError, Refused
from hypernet.civitai.get import Got, get, safe_copy
from hypernet.civitai.http import Interrupted, KeyNeeded, NotThere, Unreachable
from hypernet.civitai.lookup import Looked, lookup
from hypernet.civitai.progress import Cancelled, Progress, Watch
from hypernet.civitai.reference import Reference, reference
from hypernet.civitai.tasks import Task, Tasks

__all__ = [
    "BASES",
    "PERIODS",
    "SITE",
    "SORTS",
    "Advice",
    "Cancelled",
    "Civitai",
    "CivitaiError",
    "File",
    "Got",
    "Image",
    "Interrupted",
    "KeyNeeded",
    "Looked",
    "Model",
    "NotThere",
    "Page",
    "Progress",
    "Reference",
    "Refused",
    "Search",
    "Task",
    "Tasks",
    "Unreachable",
    "Version",
    "Watch",
    "advice",
    "get",
    "key_from_environment",
    "lookup",
    "reference",
    "safe_copy",
    "site_from_environment",
]
