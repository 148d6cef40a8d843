"""A folder of pictures and captions -> batches. `pictures` looks, `captions` and `buckets` decide, `dataset` draws."""

from __future__ import annotations
