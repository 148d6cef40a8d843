"""For people without a WebUI: the demo model, drawing, and the app."""

from __future__ import annotations
