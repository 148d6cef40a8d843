"""The embedded demo: a Stable Diffusion of six million weights, the pictures it learned from, three hypernetworks."""

from __future__ import annotations
