"""What a hypernetwork costs a step: ratios to the same UNet without one, alternating in one process.

    python benchmarks/step.py --size 256 --rounds 5 --json step.json

The UNet is SD1.5's at full size with random weights. Beside our engine runs the native way: every net of every site in
float32 on every call, as AUTOMATIC1111 does it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from hypernet.engine import Engine
from hypernet.network import Activation, Layer, LayerNorm, Linear, Net, Network, Pair
from hypernet.plan import make_plan, open_tags
from hypernet.sites import find_sites
from hypernet.tags import parse

WIDTHS = (768, 320, 640, 1280)


def net(width: int, structure: tuple[float, ...], relu: bool, norm: bool) -> Net:
    """A net in A1111's order: linear, activation, layer norm; small random weights."""
    layers: list[Layer] = []
    sizes = [int(width * part) for part in structure]
    for index, (inside, outside) in enumerate(pairwise(sizes)):
        layers.append(Linear(torch.randn(outside, inside) * 0.01, torch.zeros(outside)))
        if relu and index < len(sizes) - 2:
            layers.append(Activation("relu"))
        if norm:
            layers.append(LayerNorm(torch.ones(outside) * 0.1, torch.zeros(outside)))
    return Net(width, tuple(layers))


def network(widths: tuple[int, ...], structure: tuple[float, ...], relu: bool = False, norm: bool = False) -> Network:
    return Network({width: Pair(*(net(width, structure, relu, norm) for _ in "kv")) for width in widths})


NETWORKS: dict[str, Callable[[], list[Network]]] = {
    "linear [1,2,1]": lambda: [network(WIDTHS, (1, 2, 1))],
    "relu + layer norm [1,2,1]": lambda: [network(WIDTHS, (1, 2, 1), relu=True, norm=True)],
    "relu [1,2,1]": lambda: [network(WIDTHS, (1, 2, 1), relu=True)],
    "relu [1,2,2,1]": lambda: [network(WIDTHS, (1, 2, 2, 1), relu=True)],
    "relu 768 only": lambda: [network((768,), (1, 2, 1), relu=True)],
    "three linear": lambda: [network(WIDTHS, (1, 2, 1)) for _ in range(3)],
}


@contextmanager
def native(unet: nn.Module, networks: list[Network]) -> Iterator[None]:
    """Every net at every site on every call, in float32."""

    def hook(kind: str) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = args[0]
            for one in networks:
                if pair := one.pairs.get(x.shape[-1]):
                    x = (pair.k if kind == "k" else pair.v)(x.float(), 0.7).to(args[0].dtype)
            return (x,)

        return before

    handles = [site.module.register_forward_pre_hook(hook(site.kind)) for site in find_sites(unet)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def ours(unet: nn.Module, networks: list[Network], engine: Engine) -> Iterator[None]:
    prompt = "".join(f"<hypernet:{number}:0.7>" for number in range(len(networks)))
    uses, _ = open_tags(parse(prompt).tags, lambda name: networks[int(name)])
    engine.attach(unet, make_plan(uses, find_sites(unet)))
    try:
        yield
    finally:
        engine.detach()


def step_times(
    unet: nn.Module, x: Tensor, text: Tensor, around: AbstractContextManager[None], steps: int
) -> list[float]:
    """Seconds of each of `steps` UNet calls; the first also holds what happens once."""
    times = []
    with around, torch.no_grad():
        for _ in range(steps):
            start = time.perf_counter()
            unet(x, 500, text)
            if x.is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return times


def compare(unet: nn.Module, networks: list[Network], x: Tensor, text: Tensor, rounds: int) -> dict[str, object]:
    """Median step and first step of each way as ratios to no hypernetwork; rounds alternate."""
    engine = Engine(keep_weights=True)
    placed = [Network(one.pairs, one.metadata) for one in networks]
    seconds: dict[str, list[float]] = {"none": [], "native": [], "ours": [], "first": []}
    for _ in range(rounds):
        seconds["none"] += step_times(unet, x, text, nullcontext(), 2)
        seconds["native"] += step_times(unet, x, text, native(unet, placed), 2)
        first, *rest = step_times(unet, x, text, ours(unet, placed, engine), 3)
        seconds["first"].append(first)
        seconds["ours"] += rest
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    with ours(unet, placed, engine):
        ways = dict(engine.explain())
    return {
        "none_seconds": middle["none"],
        "native": middle["native"] / middle["none"],
        "ours": middle["ours"] / middle["none"],
        "first_step": middle["first"] / middle["none"],
        "ways": ways,
    }


def sd15_unet() -> nn.Module:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(cross_attention_dim=768, sample_size=64, attention_head_dim=8).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="pixels of the picture's side")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--only", help="a part of a network's name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    unet = sd15_unet().to(options.device, dtype)
    x = torch.randn(options.batch, 4, options.size // 8, options.size // 8, device=options.device, dtype=dtype)
    text = torch.randn(options.batch, 77, 768, device=options.device, dtype=dtype)
    step_times(unet, x, text, nullcontext(), 2)

    results = {}
    print(f"{'network':28} {'native':>8} {'ours':>8} {'first step':>11}   ways")
    for name, make in NETWORKS.items():
        if options.only and options.only not in name:
            continue
        result = results[name] = compare(unet, make(), x, text, options.rounds)
        ways = ", ".join(f"{way} {count}" for way, count in result["ways"].items())  # type: ignore[attr-defined]
        print(f"{name:28} {result['native']:8.3f} {result['ours']:8.3f} {result['first_step']:11.3f}   {ways}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
