"""Pictures and captions -> a hypernetwork.

    import hypernet
    result = hypernet.train("pictures", "ink", "model.safetensors", output="models/hypernetworks")

| file | what it is |
|---|---|
| `settings` | all that a training is told |
| `training` | `train`: the whole of it, from settings to files, in this process |
| `jobs` | start, watch, pause, stop and go on, each training in a process of its own |
| `data/` | pictures and captions -> batches |
| `base` | the model, taken apart |
| `nets`, `attached` | the network under training, and how it acts on the UNet |
| `noise`, `steps`, `rates`, `optimizers`, `moments` | one step, held to A1111's numbers |
| `run` | the steps in a row: check, save, fall back, stop |
| `store`, `chance` | what makes an interrupted training go on exactly |
| `finish`, `preview` | verdict, strength, files |

Nothing here knows a WebUI. It needs diffusers, transformers and accelerate: pip install 'hypernet[train]'.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypernet.train.finish import Result
    from hypernet.train.training import Watch


class _Room(ModuleType):
    """This package, which can be called: `hypernet.train` is the name of the verb and of the room it lives in."""

    def __call__(
        self, folder: str, name: str, checkpoint: str, watch: Watch = lambda event: None, **settings: Any
    ) -> Result | None:
        """Trains in this process; `Settings` names the further settings, `training.Watch` what is told.

        Returns None where somebody asked for a pause; calling it again goes on. Raises HypernetError.
        """
        from hypernet.train.settings import Settings
        from hypernet.train.training import train

        values = {"folder": str(folder), "name": name, "checkpoint": str(checkpoint), **settings}
        return train(Settings.from_values(values).located(), watch)


sys.modules[__name__].__class__ = _Room
