"""Small hypernetwork files of every generation there was, built from the descriptions of the programs that wrote them.

python -m tests.make_files FOLDER    writes one of each
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WIDTHS = (8, 12)
Raw = dict[Any, Any]
"""What a `.pt` holds: width -> (K, V) state dicts, text -> facts."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    name.lower(): kind
    for name, kind in inspect.getmembers(torch.nn.modules.activation, inspect.isclass)
    if kind.__module__ == "torch.nn.modules.activation"
} | {"swish": nn.Hardswish}
"""The names A1111 offers, and what it builds for each."""


def sequence(
    width: int,
    structure: tuple[float, ...] = (1, 2, 1),
    activation: str | None = None,
    *,
    layer_norm: bool = False,
    activate_output: bool = False,
    dropout: tuple[float, ...] = (),
) -> nn.Sequential:
    """The layers in A1111's order: linear, activation, layer norm, dropout."""
    layers: list[nn.Module] = []
    for stage, (before, after) in enumerate(pairwise(structure), start=1):
        last = stage == len(structure) - 1
        layers.append(nn.Linear(int(width * before), int(width * after)))
        if activation not in (None, "linear") and (activate_output or not last):
            layers.append(ACTIVATIONS[str(activation)]())
        if layer_norm:
            layers.append(nn.LayerNorm(int(width * after)))
        if dropout and dropout[stage] > 0:
            layers.append(nn.Dropout(dropout[stage]))
    return _random(nn.Sequential(*layers))


class ResidualBlock(nn.Module):
    """MonkeyPatch's block: the resized input plus linear, layer norm, dropout, activation."""

    def __init__(self, before: int, after: int, activation: str | None, layer_norm: bool, resized: bool) -> None:
        super().__init__()
        self.upsample_layer = None if resized else nn.Linear(before, after, bias=False)
        layers: list[nn.Module] = [nn.Linear(before, after)]
        layers += [nn.LayerNorm(after)] if layer_norm else []
        layers += [nn.Dropout(0.1)]
        layers += [ACTIVATIONS[activation]()] if activation else []
        self.linear = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        width = self.linear[0].out_features
        skip = (
            self.upsample_layer(x) if self.upsample_layer else nn.functional.interpolate(x, width, mode="nearest-exact")
        )
        return skip + self.linear(x)


def residual(
    width: int, structure: tuple[float, ...], activation: str | None, *, layer_norm: bool, resized: bool
) -> nn.Sequential:
    """A MonkeyPatch network with `skip_connection`."""
    sizes = [int(width * factor) for factor in structure]
    blocks = [ResidualBlock(before, after, activation, layer_norm, resized) for before, after in pairwise(sizes)]
    return _random(nn.Sequential(*blocks))


def _random(net: nn.Sequential) -> nn.Sequential:
    """Seeded weights, large enough to matter; evaluation mode, in which dropout does nothing."""
    generator = torch.Generator().manual_seed(sum(p.numel() for p in net.parameters()))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return net.eval()


def states(net: nn.Sequential) -> dict[str, Tensor]:
    """The state dict as the programs name it."""
    return {f"linear.{name}": tensor for name, tensor in net.state_dict().items()}


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """linear.0 -> linear1, as NovelAI and the first A1111 called it."""
    return {name.replace("linear.0", "linear1").replace("linear.1", "linear2"): state[name] for name in state}


def raw(facts: Raw | None = None, widths: tuple[int, ...] = WIDTHS, **kind: Any) -> Raw:
    """A file in A1111's layout: a K and a V net of that kind for each width, then the facts."""
    made: Raw = {width: (states(sequence(width, **kind)), states(sequence(width, **kind))) for width in widths}
    for k, v in made.values():
        for name in k:
            v[name] = k[name] * -0.5
    return made | (facts or {})


V0 = {"step": 20000, "name": "ink", "sd_checkpoint": "0123456789", "sd_checkpoint_name": "model"}
V1 = V0 | {"layer_structure": [1, 2, 1], "is_layer_norm": False}
V1A = V1 | {"activation_func": "relu"}
V1B = V1A | {"use_dropout": True, "layer_structure": [1, 2, 2, 1]}
V2 = V1A | {"use_dropout": False, "activate_output": False, "last_layer_dropout": False}
V2B = V2 | {"weight_initialization": "XavierNormal"}
V4 = V2B | {"use_dropout": True, "layer_structure": [1, 2, 2, 1], "dropout_structure": [0, 0.1, 0.2, 0]}
V4 |= {"last_layer_dropout": True, "optional_info": "made for a test\nlearning rate 5e-6", "activation_func": "mish"}
RESIDUAL = V4 | {"skip_connection": True, "layer_structure": [1, 2, 1], "activation_func": "elu", "is_layer_norm": True}


def _residual(resized: bool) -> Raw:
    nets = {
        width: tuple(states(residual(width, (1, 2, 1), "elu", layer_norm=True, resized=resized)) for _ in "kv")
        for width in WIDTHS
    }
    return nets | RESIDUAL | {"upsample_linear": False if resized else "Linear"}


def _with_optimizer() -> Raw:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return raw(V2 | {"optimizer_name": "AdamW", "optimizer_state_dict": optimizer.state_dict()}, activation="relu")


def _cast(made: Raw, dtype: torch.dtype) -> Raw:
    nets = {key: value for key, value in made.items() if isinstance(key, int)}
    return made | {
        width: tuple({n: t.to(dtype) for n, t in net.items()} for net in pair) for width, pair in nets.items()
    }


def _novelai() -> Raw:
    return {width: tuple(old_names(net) for net in pair) for width, pair in raw().items()}


GENERATIONS: dict[str, Callable[[], Raw]] = {
    "NovelAI": _novelai,
    "A1111 v0": lambda: _novelai() | V0,
    "A1111 v1": lambda: raw(V1),
    "A1111 v1a": lambda: raw(V1A, activation="relu", activate_output=True),
    "A1111 v1b": lambda: raw(
        V1B, structure=(1, 2, 2, 1), activation="relu", activate_output=True, dropout=(0, 0.3, 0, 0)
    ),
    "A1111 v2": lambda: raw(V2, activation="relu"),
    "A1111 v2 with its optimizer": _with_optimizer,
    "A1111 v2b": lambda: raw(V2B, activation="relu"),
    "A1111 v4": lambda: raw(V4, structure=(1, 2, 2, 1), activation="mish", dropout=(0, 0.1, 0.2, 0)),
    "kohya": lambda: {width: list(pair) for width, pair in raw().items()},
    "MonkeyPatch": lambda: raw(V2B | {"skip_connection": False, "upsample_linear": None}, activation="relu"),
    "MonkeyPatch (residual), resized": lambda: _residual(True),
    "MonkeyPatch (residual), learned": lambda: _residual(False),
    "half": lambda: _cast(raw(V2, activation="relu"), torch.float16),
    "bfloat16": lambda: _cast(raw(V2, activation="relu"), torch.bfloat16),
    "double": lambda: _cast(raw(V2, activation="relu"), torch.float64),
    "widths written as text": lambda: {str(key): value for key, value in raw(V2, activation="relu").items()},
    "PReLU": lambda: raw(V2B | {"activation_func": "prelu"}, activation="prelu"),
    "layer norm": lambda: raw(V2B | {"is_layer_norm": True}, activation="relu", layer_norm=True),
}
"""Name of a generation -> what a file of it holds."""


def write(path: Path, content: object, *, legacy: bool = False) -> Path:
    """Saves as PyTorch does: a zip archive, or the stream of pickles it wrote before 1.6."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


if __name__ == "__main__":
    for generation, make in GENERATIONS.items():
        write(Path(sys.argv[1]) / f"{generation}.pt", make())
