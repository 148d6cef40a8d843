"""Pictures as batches: read once, then drawn in an order, a place and with words that follow from the seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hypernet.train import chance
from hypernet.train.base import Base, Text
from hypernet.train.data.buckets import Fit, Size, fit
from hypernet.train.data.cache import Cache
from hypernet.train.data.captions import Wording
from hypernet.train.data.pictures import Collection, Picture, Problem, open_picture, read_mask
from hypernet.train.steps import Batch

SAMPLINGS = ("deterministic", "once", "random")
"""How latents are taken from what the VAE gives: its mean, one sample for ever, or a new sample each time."""
OUTSIDE = 0.1
"""What counts outside of a mask: a little, so that the surroundings stay what they are."""


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn into batches.

    area: the most pixels; crop: one of CROPS; flip: whether half of them are mirrored; sampling: one of SAMPLINGS;
    noise_offset: brightness of the noise that all pixels share; prior_weight: of regularisation pictures.
    """

    area: int
    batch_size: int = 4
    crop: str = "center"
    flip: bool = False
    sampling: str = "deterministic"
    noise_offset: float = 0.0
    prior_weight: float = 1.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Item:
    """A picture that was read. latents: mean and spread, mirrored too where asked for; mask: (1, height, width)."""

    picture: Picture
    fit: Fit
    latents: Mapping[str, Tensor]
    mask: Tensor | None


class Dataset:
    """The pictures of a training. Batches are made on the CPU."""

    def __init__(self, base: Base, wording: Wording, drawing: Drawing, cache: Cache) -> None:
        self._base, self._wording, self._drawing, self._cache = base, wording, drawing, cache
        self._texts: dict[str, Text] = {}
        self.items: list[Item] = []
        self.problems: list[Problem] = []

    def read(self, pictures: Sequence[Picture], advance: Callable[[], None] = lambda: None) -> list[Item]:
        """Reads pictures and, where these are known beforehand, all their prompts; from the cache what is there."""
        found = []
        for picture in pictures:
            placed = fit(picture.size, self._drawing.area, self._base.step, self._drawing.crop, self._base.grain)
            if placed is None:
                size = "x".join(map(str, picture.size))
                problem = f"It is too small ({size}) for this model, whose smallest side is {self._base.step}."
                self.problems.append(Problem(picture.path, problem))
                continue
            found.append(self._read(picture, placed))
            for text in self._wording.texts(picture.caption):
                self.text(text)
            if any(map(self._base.too_long, self._wording.texts(picture.caption))):
                self.problems.append(Problem(picture.path, "The end of its caption is too far back to be read.", False))
            advance()
        return found

    def _read(self, picture: Picture, placed: Fit) -> Item:
        def make() -> dict[str, Tensor]:
            image = open_picture(picture.path)
            pixels = _pixels(image, placed, self._drawing.crop)
            mean, spread = self._base.read_picture(pixels)
            made = {"mean": mean, "spread": spread}
            if self._drawing.flip:
                made["mirrored mean"], made["mirrored spread"] = self._base.read_picture(pixels.flip(-1))
            if picture.masked:
                made["mask"] = _mask(picture, placed, self._drawing.crop, mean.shape[-2:])
            return made

        key = ("picture 1", picture.digest, _mask_key(picture), placed, self._drawing.crop, self._drawing.flip)
        made = self._cache.get((*key, self._base.vae_mark), make)
        return Item(picture, placed, made, made.get("mask"))

    def text(self, text: str) -> Text:
        """The prompt as the UNet reads it, from memory or disk where it was read before."""
        if text not in self._texts:
            made = self._cache.get(("text 1", text, self._base.text_mark), lambda: self._made(text))
            self._texts[text] = Text(made["context"], made.get("pooled"))
        return self._texts[text]

    def _made(self, text: str) -> dict[str, Tensor]:
        (read,) = self._base.read_texts([text])
        return {"context": read.context} | ({} if read.pooled is None else {"pooled": read.pooled})

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which every picture is seen as often as it is repeated."""
        return sum(-(-len(rows) // self._drawing.batch_size) for rows in self._by_size().values())

    def _by_size(self) -> Mapping[Size, list[int]]:
        rows: dict[Size, list[int]] = defaultdict(list)
        for index, item in enumerate(self.items):
            rows[item.fit.bucket] += [index] * item.picture.repeats
        return rows

    def _epoch(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch, each of pictures of one size."""
        rng, size, batches = chance.choices(self._drawing.seed, "epoch", epoch), self._drawing.batch_size, []
        for rows in self._by_size().values():
            mixed = rng.sample(rows, len(rows))
            batches += [mixed[start : start + size] for start in range(0, len(mixed), size)]
        return rng.sample(batches, len(batches))

    def batch(self, index: int) -> Batch:
        """The batch of this number since the training began."""
        epoch, place = divmod(index, self.steps_per_epoch)
        items = [self.items[row] for row in self._epoch(epoch)[place]]
        rng = chance.choices(self._drawing.seed, "batch", index)
        generator = chance.numbers(self._drawing.seed, "batch", index)
        texts = [self.text(self._wording.text(item.picture.caption, rng)) for item in items]
        drawn = [self._draw(item, rng.random(), rng.random(), rng.random(), generator) for item in items]
        latents = torch.stack([latents for latents, _, _ in drawn])
        noise = torch.randn(latents.shape, generator=generator)
        if self._drawing.noise_offset:
            noise += self._drawing.noise_offset * torch.randn((*latents.shape[:2], 1, 1), generator=generator)
        scale = torch.tensor([self._drawing.prior_weight if item.picture.regular else 1.0 for item in items])
        corners = [corner for _, _, corner in drawn]
        return Batch(
            latents,
            noise,
            self._timesteps(len(items), generator),
            torch.stack([text.context for text in texts]),
            _weights([mask for _, mask, _ in drawn]),
            scale,
            self._added(items, corners, texts),
        )

    def _timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """One for each picture, each as likely as any other, but spread over the range within a batch."""
        steps = len(self._base.noise.kept)
        first = torch.rand((), generator=generator)
        spread = (torch.randperm(count, generator=generator) + first) / count
        return (spread * steps).long().clamp(max=steps - 1)

    def _draw(
        self, item: Item, mirror: float, left: float, top: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None, tuple[int, int]]:
        """Latents, mask, and where the picture was cropped. mirror, left, top: chance, 0 to 1."""
        drawing, mask = self._drawing, item.mask
        mirrored = drawing.flip and mirror < 0.5
        prefix = "mirrored " if mirrored else ""
        latents, spread = item.latents[f"{prefix}mean"], item.latents[f"{prefix}spread"]
        if drawing.sampling == "once":
            generator = chance.numbers(drawing.seed, "sample", item.picture.digest)
        if drawing.sampling != "deterministic":
            latents = latents + spread * torch.randn(latents.shape, generator=generator)
        if mask is not None and mirrored:
            mask = mask.flip(-1)
        width, height = (side // self._base.grain for side in item.fit.bucket)
        x, y = int(left * (latents.shape[-1] - width + 1)), int(top * (latents.shape[-2] - height + 1))
        window = (..., slice(y, y + height), slice(x, x + width))
        corner = (y * self._base.grain, x * self._base.grain)
        return latents[window], None if mask is None else mask[window], corner

    def _added(
        self, items: Sequence[Item], corners: Sequence[tuple[int, int]], texts: Sequence[Text]
    ) -> dict[str, Tensor]:
        if not self._base.is_xl:
            return {}
        ids = [
            [item.picture.size[1], item.picture.size[0], *_corner(item.fit, corner), *reversed(item.fit.bucket)]
            for item, corner in zip(items, corners, strict=True)
        ]
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return {"text_embeds": torch.stack(pooled), "time_ids": torch.tensor(ids, dtype=torch.float32)}

    def fixed(self, items: Sequence[Item], timesteps: Sequence[int]) -> Iterator[Batch]:
        """Each picture at each of the timesteps, always with the same noise and words: what a loss is compared on."""
        for item in items:
            generator = chance.numbers(self._drawing.seed, "held out", item.picture.digest)
            latents, mask, corner = self._draw(item, 1.0, 0.5, 0.5, generator)
            count = len(timesteps)
            text = self.text(self._wording.texts(item.picture.caption)[0])
            noise = torch.randn((count, *latents.shape), generator=generator)
            yield Batch(
                latents.expand_as(noise),
                noise,
                torch.tensor(timesteps),
                text.context.expand(count, -1, -1),
                None if mask is None else _weights([mask] * count),
                None,
                self._added([item] * count, [corner] * count, [text] * count),
            )


def _corner(placed: Fit, inner: tuple[int, int]) -> tuple[int, int]:
    """Top and left of the crop within the scaled picture."""
    if any(inner):
        return inner
    return tuple((whole - kept) // 2 for whole, kept in zip(placed.scaled, placed.bucket, strict=True))[::-1]  # type: ignore[return-value]


def _place(image: Image.Image, placed: Fit, crop: str) -> Image.Image:
    """The picture at its size, cropped where that is the same each time."""
    if image.size != placed.scaled:
        image = image.resize(placed.scaled, Image.Resampling.LANCZOS)
    if crop == "random":
        return image
    left, top = ((whole - kept) // 2 for whole, kept in zip(placed.scaled, placed.bucket, strict=True))
    return image.crop((left, top, left + placed.bucket[0], top + placed.bucket[1]))


def _pixels(image: Image.Image, placed: Fit, crop: str) -> Tensor:
    """(3, height, width) from -1 to 1. What is transparent becomes white."""
    ground = Image.new("RGBA", image.size, "white")
    flat = _place(Image.alpha_composite(ground, image).convert("RGB"), placed, crop)
    return torch.from_numpy(np.asarray(flat, np.float32) / 127.5 - 1).permute(2, 0, 1)


def _mask(picture: Picture, placed: Fit, crop: str, shape: Sequence[int]) -> Tensor:
    """How much each latent counts: (1, height, width), at least OUTSIDE."""
    image = Image.fromarray((read_mask(picture) * 255).round().astype(np.uint8))
    mask = torch.from_numpy(np.asarray(_place(image, placed, crop), np.float32) / 255)
    return F.interpolate(mask[None, None], tuple(shape), mode="area")[0].clamp(min=OUTSIDE)


def _mask_key(picture: Picture) -> object:
    return None if not picture.masked else OUTSIDE if picture.mask is None else picture.mask.read_bytes()


def _weights(masks: Sequence[Tensor | None]) -> Tensor | None:
    """The masks of a batch as weights of mean 1, so that a picture counts as much as one without a mask."""
    like = next((mask for mask in masks if mask is not None), None)
    if like is None:
        return None
    return torch.stack([torch.ones_like(like) if mask is None else mask / mask.mean() for mask in masks])


def split(collection: Collection, held_out: int | None, seed: int) -> tuple[list[Picture], list[Picture]]:
    """Pictures to train on, and pictures held out: where nothing is said every fifth, at least 1 and at most 16.

    Which ones depends on the pictures and the seed alone. Regularisation pictures are never held out.
    """
    own = sorted((one for one in collection.pictures if not one.regular), key=lambda one: one.digest)
    count = min(16, max(1, len(own) // 5)) if held_out is None else held_out
    count = max(0, min(count, len(own) - 1))
    chosen = set(chance.choices(seed, "held out").sample([one.digest for one in own], count))
    kept = [one for one in collection.pictures if one.digest not in chosen]
    return kept, [one for one in own if one.digest in chosen]
