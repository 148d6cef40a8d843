"""Pictures and captions -> a hypernetwork.

`rates` and `optimizers` say how large a step is, `attached` puts a network under training on a UNet, `noise` makes the
task, `steps` takes the steps. Nothing here knows a WebUI.
"""

from __future__ import annotations
