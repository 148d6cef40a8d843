"""What cards and `hypernet info` tell of a file, without a look at its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hypernet.network import Activation, Layer, LayerNorm, Linear, Metadata, Net, Network, Residual
from hypernet.network.activations import IDENTITY


@dataclass(frozen=True)
class Summary:
    """A file in brief."""

    container: str
    """'pt', 'pt (legacy)' (not a zip) or 'safetensors'."""
    generation: str
    """Which program wrote it first, as far as its keys tell: 'NovelAI', 'A1111 v4', 'MonkeyPatch (residual)', ..."""
    metadata: Metadata
    widths: tuple[int, ...]
    base: str
    """'SD1', 'SD2', 'SDXL' or 'unknown'."""
    structure: tuple[float, ...]
    """Widths of the layers relative to the context's, from the weights: (1, 2, 1) is the usual one."""
    activation: str
    """The activation that acts, by A1111's name, or 'linear'."""
    activate_output: bool
    """Whether the activation also acts behind the last layer."""
    layer_norm: bool
    residual: bool
    linear: bool
    """No activation and no layer norm: such a network costs nothing while a picture is made."""
    dtype: str
    """'float32', 'float16', ... or 'mixed'."""
    parameters: int
    nbytes: int
    """Bytes of the weights."""


def summarise(container: str, network: Network) -> Summary:
    """The summary of a network; its tensors may be on torch's meta device."""
    net = network.pairs[network.widths[0]].k
    layers = list(flat(net.layers))
    named = [layer.name for layer in layers if isinstance(layer, Activation)]
    dtypes = {str(tensor.dtype).removeprefix("torch.") for each in network.nets() for tensor in each.tensors()}
    return Summary(
        container=container,
        generation=generation(network),
        metadata=network.metadata,
        widths=network.widths,
        base=network.base,
        structure=structure(net),
        activation=named[0] if named else IDENTITY,
        activate_output=_ends_active(layers),
        layer_norm=any(isinstance(layer, LayerNorm) for layer in layers),
        residual=net.residual,
        linear=network.linear,
        dtype=dtypes.pop() if len(dtypes) == 1 else "mixed",
        parameters=network.parameters,
        nbytes=network.nbytes,
    )


def structure(net: Net) -> tuple[float, ...]:
    """The layers' widths as multiples of the context's: A1111's `layer_structure`, from the weights themselves."""
    widths = [net.width, *(layer.weight.shape[0] for layer in flat(net.layers) if isinstance(layer, Linear))]
    return tuple(width // net.width if width % net.width == 0 else width / net.width for width in widths)


def generation(network: Network) -> str:
    """Which program, and which of its versions, a file's names and keys point to."""
    keys = set(network.metadata.keys or ())
    names = network.pairs[network.widths[0]].k.names
    if network.pairs[network.widths[0]].k.residual:
        return "MonkeyPatch (residual)"
    if "skip_connection" in keys:
        return "MonkeyPatch"
    if names and names[0].startswith("linear1"):
        return "A1111 v0" if "step" in keys else "NovelAI"
    for key, version in _VERSIONS:
        if key in keys:
            return f"A1111 {version}"
    return "kohya" if names else "hypernet"


_VERSIONS = (
    ("dropout_structure", "v4"),
    ("weight_initialization", "v2b"),
    ("activate_output", "v2"),
    ("use_dropout", "v1b"),
    ("activation_func", "v1a"),
    ("layer_structure", "v1"),
)
"""The key each version of A1111 added, newest first."""


def flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers with those inside of residual blocks in the blocks' place."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from layer.block
        else:
            yield layer


def _ends_active(layers: list[Layer]) -> bool:
    behind_last = layers[max(i for i, layer in enumerate(layers) if isinstance(layer, Linear)) + 1 :]
    return any(isinstance(layer, Activation) for layer in behind_last)
