"""A training step beside A1111's way of taking it, on the same UNet: time, and memory above the model's own.

A1111's way: the UNet is not frozen, so that gradients of its own weights are computed and kept; attention is written
out instead of fused; checkpointing is always on; each layer runs the nets on the text anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.table import Options, Row, Say, Table
from benchmarks.timing import seconds
from benchmarks.unets import TEXT, make_unet
from hypernet.network import Net, Network
from hypernet.sites import find_sites

WAYS = ("hypernet", "hypernet, checkpointing", "A1111's")
"""Of taking a step."""
_WARM = 1


def run(options: Options, say: Say) -> Table:
    """A step of training, [1, 2, 1] linear on all widths, one picture; ratio: A1111's time by ours."""
    table = Table(
        "Training", {"seconds a step": ".2f", "times as fast": ".2f", "MB above the model": ".0f", "part of it": ".0%"}
    )
    for model, size in [("demo", 96), *((model, size) for model in options.models for size in options.sizes)]:
        rows: dict[str, Row] = {}
        for way in WAYS:
            say(f"{model} at {size}: {way}")
            rows[way] = _in_a_process(way, model, size, options)
        theirs = rows[WAYS[-1]]
        for way, row in rows.items():
            row["times as fast"] = float(theirs["seconds a step"]) / float(row["seconds a step"])
            row["part of it"] = float(row["MB above the model"]) / float(theirs["MB above the model"])
            table.rows.append({"model": model, "size": f"{size}", "way": way, **row})
    return table


def _in_a_process(way: str, model: str, size: int, options: Options) -> Row:
    """Memory that one way needed would be there for the next, so each has a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", way, model, str(size), options.device, str(options.rounds)]
    made = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    row: Row = json.loads(made.stdout.splitlines()[-1])
    return row


def measure(way: str, model: str, size: int, device: str, rounds: int) -> Row:
    """Median seconds of a step, and how much memory the steps took at most above the model's."""
    unet = _unet(model, device)
    step = (theirs if way == WAYS[-1] else ours)(unet, model, size, checkpointing=way == WAYS[1])
    memory = Memory(device)
    times = [seconds(step, device) for _ in range(_WARM + rounds)][_WARM:]
    return {"seconds a step": sorted(times)[len(times) // 2], "MB above the model": memory.above() / 1e6}


def _unet(model: str, device: str) -> Any:
    if model != "demo":
        return make_unet(model, Options(device))
    from hypernet.app.demo import load_demo

    return load_demo().unet.to(device)


def _batch(unet: Any, model: str, size: int) -> Any:
    from hypernet.train.steps import Batch

    config, device, generator = unet.config, unet.device, torch.Generator().manual_seed(0)
    shape = (1, config.in_channels, size // 8, size // 8)
    latents, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    context = torch.randn((1, 77, TEXT.get(model, config.cross_attention_dim)), generator=generator)
    added = {} if model != "sdxl" else {"text_embeds": torch.randn(1, 1280), "time_ids": torch.zeros(1, 6)}
    return Batch(latents, noise, torch.tensor([500]), context, added=added).to(device)


def _network(unet: Any) -> Network:
    from hypernet.train.nets import Structure, new_network, trainable

    return trainable(new_network(sorted({site.width for site in find_sites(unet)}), Structure(), 0), unet.device)


def ours(unet: Any, model: str, size: int, checkpointing: bool) -> Callable[[], object]:
    """A step as `hypernet.train` takes it."""
    from accelerate import Accelerator

    from hypernet.train.noise import NoiseSchedule
    from hypernet.train.rates import Rates
    from hypernet.train.steps import Trainer, checkpoint

    if checkpointing:
        checkpoint(unet)
    noise = NoiseSchedule(torch.linspace(0.999, 0.005, 1000, dtype=torch.float64))
    rates = Rates(((1e-4, 1000),))
    trainer = Trainer(unet, _network(unet), noise, rates, accelerator=Accelerator(cpu=unet.device.type == "cpu"))
    batch = _batch(unet, model, size)
    return lambda: trainer.step([batch])


def theirs(unet: Any, model: str, size: int, checkpointing: bool) -> Callable[[], object]:
    """A step as A1111 1.10.1 takes it, in our own words."""
    from diffusers.models.attention_processor import AttnProcessor

    from hypernet.train.nets import all_weights

    unet.requires_grad_(True)
    unet.set_attn_processor(AttnProcessor())
    unet.enable_gradient_checkpointing()
    network, batch = _network(unet), _batch(unet, model, size)
    for site in find_sites(unet):
        pair = network.pairs[site.width]
        site.module.register_forward_pre_hook(_before(pair.k if site.kind == "k" else pair.v))
    weights = [weight.requires_grad_() for weight in all_weights(network)]
    optimizer = torch.optim.AdamW(weights, lr=1e-4)

    def step() -> None:
        noised = 0.7 * batch.latents + 0.7 * batch.noise
        added = dict(batch.added) or None
        answer: Tensor = unet(noised, batch.timesteps, batch.context, added_cond_kwargs=added, return_dict=False)[0]
        torch.autograd.backward(nn.functional.mse_loss(answer, batch.noise))
        optimizer.step()
        optimizer.zero_grad()

    return step


def _before(net: Net) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    return lambda module, args: (net(args[0]), *args[1:])


class Memory:
    """What this process, or the GPU, holds at most from now on, above what it holds now."""

    def __init__(self, device: str) -> None:
        self._device, self._most = device, 0
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._begin = torch.cuda.memory_allocated()
            return
        self._begin = _resident()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, _resident())
            time.sleep(0.01)

    def above(self) -> int:
        """Bytes."""
        most = torch.cuda.max_memory_allocated() if self._device == "cuda" else self._most
        return int(most - self._begin)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("way", "model", "size", "device", "rounds"):
        parser.add_argument(name, type=int if name in ("size", "rounds") else str)
    print(json.dumps(measure(**vars(parser.parse_args()))))
