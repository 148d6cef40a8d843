"""What a person without a WebUI uses: the demo model, and the app around it."""

from __future__ import annotations
