"""What was read of pictures and text, kept on disk under the hash of all that it depends on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from hypernet import atomic

_log = logging.getLogger(__name__)

Tensors = Mapping[str, Tensor]


class Cache:
    """A folder of tensors. Another picture, caption, VAE or text encoder asks under another key; nothing goes stale."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: tuple[object, ...], make: Callable[[], Tensors]) -> Tensors:
        """What `make` gave for this key, now or in an earlier training. A damaged file is made anew."""
        path = self.folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.cache"
        if path.is_file():
            try:
                return load_file(path)
            except (SafetensorError, OSError) as error:
                _log.info("%s is made anew: %s", path.name, error)
        made = make()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(path, save({name: tensor.contiguous() for name, tensor in made.items()}))
        except OSError as error:  # a full disk costs the cache, not the training
            _log.warning("The cache can't be written (%s): pictures will be read again next time.", error.strerror)
        return made
