"""Draws a request's pictures, with their parameters as WebUIs write them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hypernet import __version__, atomic
from hypernet.app.samplers import sampler_of, set_sampler
from hypernet.errors import HypernetError
from hypernet.library import Library
from hypernet.library.hashes import INFOTEXT_KEY, in_infotext
from hypernet.pipeline.hypernetworks import Hypernetworks, load_pipeline

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SEED = 2**32 - 1
"""The largest seed."""


@dataclass(frozen=True)
class Request:
    """What to draw. None: the model's own default."""

    prompt: str
    negative: str = ""
    steps: int = 20
    cfg: float = 7.0
    seed: int | None = None
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    sampler: str | None = None
    batch: int = 1
    """How many pictures, with the seed and those after it."""


@dataclass(frozen=True)
class Picture:
    """One picture and how it came to be."""

    image: Image
    seed: int
    parameters: str
    """As AUTOMATIC1111 writes them, so that WebUIs read them back."""


@dataclass(frozen=True)
class Model:
    """A pipeline that takes tags, and what its pictures say about it."""

    pipe: Hypernetworks
    name: str


def open_model(checkpoint: Path | None, folders: Sequence[Path]) -> Model:
    """A checkpoint, or without one the embedded demo; on the GPU if there is one. Raises HypernetError."""
    _silence_diffusers()
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    if checkpoint is not None:
        pipe, name = load_pipeline(checkpoint, dtype=dtype), checkpoint.stem
    else:
        pipe, name = _demo(), "demo"
    if pipe.unet.config.in_channels != pipe.vae.config.latent_channels:
        raise HypernetError(f"{name}: this model fills in parts of a picture; it can't draw from text alone.")
    pipe.set_progress_bar_config(disable=True)
    pipe.to(device)
    return Model(Hypernetworks(pipe, Library(folders)), name)


def _demo() -> Any:
    from hypernet.app.demo import load_demo

    try:
        return load_demo()
    except FileNotFoundError as error:
        raise HypernetError(
            "The demo model is not in this copy of hypernet: give a model with --checkpoint."
        ) from error


def _silence_diffusers() -> None:
    """Turns off diffusers' and transformers' own bars and messages."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def draw(model: Model, request: Request, on_step: Callable[[], None] = lambda: None) -> Iterator[Picture]:
    """The pictures of a request, one after the other. on_step: called after each step of each picture.

    Raises HypernetError for a size or sampler that can't be.
    """
    pipe = model.pipe
    if request.sampler is not None:
        set_sampler(pipe, request.sampler)
    width, height = _size(pipe, request.size)
    first = random.randint(0, MAX_SEED - request.batch) if request.seed is None else request.seed

    def step(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        on_step()
        return values

    for seed in range(first, first + request.batch):
        output = pipe(
            request.prompt,
            negative_prompt=request.negative or None,
            num_inference_steps=request.steps,
            guidance_scale=request.cfg,
            width=width,
            height=height,
            generator=torch.Generator().manual_seed(seed),
            callback_on_step_end=step,
        )
        drawn = replace(request, seed=seed, size=(width, height), sampler=sampler_of(pipe))
        yield Picture(output.images[0], seed, parameters(drawn, model.name, _hashes(pipe)))


def _size(pipe: Hypernetworks, size: tuple[int, int] | None) -> tuple[int, int]:
    unit = pipe.vae_scale_factor
    if size is None:
        side = pipe.unet.config.sample_size * unit
        return side, side
    coarse = unit * 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    for side in size:
        if side < coarse or side % unit:
            raise HypernetError(f"A side of {side} pixels can't be drawn: take a multiple of {unit} from {coarse} on.")
    return size


def _hashes(pipe: Hypernetworks) -> Mapping[str, str]:
    """Name of each network that acted in the last picture -> sha256 of its file."""
    found = {use.tag.name: pipe.library.find(use.tag.name) for use in pipe.applied}
    return {name: pipe.library.sha256(entry) or "" for name, entry in found.items() if entry is not None}


def parameters(request: Request, model: str, hashes: Mapping[str, str]) -> str:
    """The text that WebUIs keep in a picture. request: its seed, size and sampler are known."""
    assert request.size is not None, "a picture has a size"
    values: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "CFG scale": f"{request.cfg:g}",
        "Seed": request.seed,
        "Size": "x".join(map(str, request.size)),
        "Model": model,
        INFOTEXT_KEY: in_infotext(hashes),
        "Version": f"hypernet {__version__}",
    }
    lines = [request.prompt]
    if request.negative:
        lines.append(f"Negative prompt: {request.negative}")
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in values.items() if value != ""))
    return "\n".join(lines)


def _quoted(value: str) -> str:
    """Values with separators in them are JSON strings, as in A1111."""
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def save_png(image: Image, path: Path, parameters: str | None = None) -> None:
    """Writes the picture whole or not at all, with its parameters as a text chunk. Makes the folder. Raises OSError."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if parameters is not None:
        info.add_text("parameters", parameters)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.writing(path) as stream:
        image.save(stream, "PNG", pnginfo=info)
