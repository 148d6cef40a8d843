"""The maths of a hypernetwork, as plain functions on plain tensors.

A network holds, for each context width, two small MLPs: one on the path to K, one on the path to V. Each is residual:
`x + strength * f(x)`. Nothing here is an `nn.Module`: WebUIs patch `nn.Linear` for LoRA and half precision, and a
hypernetwork must not go through their patches.

The formulas follow AUTOMATIC1111/stable-diffusion-webui 1.10.1 `modules/hypernetworks/hypernetwork.py` and, for
residual blocks, aria1th/Hypernetwork-MonkeyPatch-Extension.
"""

from __future__ import annotations

from hypernet.network.activations import ACTIVATIONS, ActivationFunction
from hypernet.network.bases import TEXT_WIDTHS, UNKNOWN_BASE
from hypernet.network.collapse import collapse
from hypernet.network.layers import Activation, Layer, LayerNorm, Linear, Residual, resize
from hypernet.network.metadata import Metadata
from hypernet.network.network import Net, Network, Pair

__all__ = [
    "ACTIVATIONS",
    "TEXT_WIDTHS",
    "UNKNOWN_BASE",
    "Activation",
    "ActivationFunction",
    "Layer",
    "LayerNorm",
    "Linear",
    "Metadata",
    "Net",
    "Network",
    "Pair",
    "Residual",
    "collapse",
    "resize",
]
