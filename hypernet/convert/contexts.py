"""Contexts of a real run: a few thousand rows of what K and V are made from, at each attention layer.

Fits and measurements hold for such contexts. They are recorded while the networks act, since these change what later
layers see. Some of the prompts are set aside, so that no fit is measured on its own data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hypernet.engine import Engine
from hypernet.plan import Use, make_plan
from hypernet.sites import Site, find_sites

ROWS = 4096
"""Rows kept of each layer, including those for measuring."""
_MEASURED = 4
"""One prompt in this many is for measuring."""

PROMPTS = tuple(
    f"{what}, {how}"
    for what in (
        "portrait of an old man with a hat",
        "a girl with long hair and blue eyes, smiling",
        "a castle on a hill above the sea",
        "a red car in a busy street at night",
        "a cat sleeping on a wooden table",
        "a forest with tall trees and morning fog",
        "a bowl of fruit and a bottle of wine",
        "a spaceship over a desert planet",
        "a knight in shining armor fighting a dragon",
        "two people dancing in the rain",
        "a modern kitchen with large windows",
        "a bird flying over snowy mountains",
    )
    for how in ("oil painting", "photo, 35mm, sharp focus", "anime, masterpiece, best quality", "pencil sketch")
)
"""Prompts of many kinds, for users who give none of their own."""


@dataclass(frozen=True)
class Rows:
    """Contexts of one attention layer. fit, measure: (rows, width), float32, of different prompts."""

    fit: Tensor
    measure: Tensor


Contexts = Mapping[str, Rows]
"""`layer_key` of an attention layer -> its rows."""


def layer_key(site: Site) -> str:
    """Names the attention layer of a site, the same way for every kind of UNet: `IN04.0.attn1`."""
    if not site.block:
        return site.attention
    _, _, inner = site.attention.rpartition("transformer_blocks.")
    return f"{site.block}.{inner}"


@torch.no_grad()
def record(
    pipe: Any,
    uses: Sequence[Use],
    prompts: Sequence[str] = PROMPTS,
    *,
    steps: int = 8,
    drawn: int = 4,
    rows: int = ROWS,
    progress: Callable[[], None] = lambda: None,
) -> Contexts:
    """Contexts of a diffusers pipeline that draws with these networks.

    Text contexts come from all prompts, those of the picture from the first `drawn`. progress: called after each of
    the `drawn * steps` steps.
    """
    sites = {layer_key(site): site for site in find_sites(pipe.unet)}
    text = _text_rows(pipe, prompts)
    pictures = [name for name, site in sites.items() if not site.cross]
    seen: dict[str, list[list[Tensor]]] = {name: [] for name in pictures}
    engine = Engine()
    share = -(-rows // (drawn * steps))
    with _listening({name: sites[name].module for name in pictures}, seen, share):
        engine.attach(pipe.unet, make_plan(uses, tuple(find_sites(pipe.unet))))
        try:
            for number, prompt in enumerate(prompts[:drawn]):
                for kept in seen.values():
                    kept.append([])
                _draw(pipe, prompt, steps, number, progress)
        finally:
            engine.detach()
    picture = {name: _split([torch.cat(kept) for kept in drawings]) for name, drawings in seen.items()}
    return {name: text if site.cross else picture[name] for name, site in sites.items()}


def _text_rows(pipe: Any, prompts: Sequence[str]) -> Rows:
    """The tokens of each prompt and of the empty one. Repeated padding counts once per prompt."""
    made = [_encode(pipe, prompt).float().cpu()[0] for prompt in ["", *prompts]]
    return _split([torch.unique(tokens, dim=0) for tokens in made])


def _encode(pipe: Any, prompt: str) -> Tensor:
    encoded: Tensor = pipe.encode_prompt(
        prompt=prompt, device=pipe.device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )[0]
    return encoded


def _split(prompts: Sequence[Tensor]) -> Rows:
    """prompts: the rows of each. Every fourth prompt and the last one are for measuring."""
    last = len(prompts) - 1
    measured = [i % _MEASURED == _MEASURED - 1 or i == last for i in range(len(prompts))]
    fit = [rows for rows, apart in zip(prompts, measured, strict=True) if not apart] or [prompts[0]]
    return Rows(torch.cat(fit), torch.cat([rows for rows, apart in zip(prompts, measured, strict=True) if apart]))


@contextmanager
def _listening(modules: Mapping[str, nn.Module], seen: Mapping[str, list[list[Tensor]]], share: int) -> Iterator[None]:
    """Keeps `share` random rows of each call's input to these modules; every run chooses the same ones."""
    generator = torch.Generator().manual_seed(0)

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            rows = args[0].detach().flatten(0, -2)
            chosen = torch.randperm(len(rows), generator=generator)[:share].to(rows.device)
            seen[name][-1].append(rows[chosen].float().cpu())

        return keep

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _draw(pipe: Any, prompt: str, steps: int, seed: int, progress: Callable[[], None]) -> None:
    def step(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        progress()
        return values

    pipe(
        prompt,
        num_inference_steps=steps,
        output_type="latent",
        generator=torch.Generator().manual_seed(seed),
        callback_on_step_end=step,
    )
