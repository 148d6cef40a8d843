"""From a folder to batches: what is read, what is left out and why, and that nothing stale is ever used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("accelerate")

from hypernet.errors import HypernetError
from hypernet.train import chance
from hypernet.train.base import Base
from hypernet.train.data.buckets import fit
from hypernet.train.data.cache import Cache
from hypernet.train.data.captions import Wording, common_words, read_caption, read_templates
from hypernet.train.data.dataset import Dataset, Drawing, split
from hypernet.train.data.pictures import Collection, Picture, look
from tests.pipelines import pipeline

SIDES = st.integers(64, 3000)


def paint(path: Path, size: tuple[int, int] = (96, 64), seed: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@given(SIDES, SIDES, st.sampled_from(["center", "random", "squeeze"]))
def test_a_picture_keeps_about_its_shape_and_is_never_enlarged(width: int, height: int, crop: str) -> None:
    placed = fit((width, height), 512 * 512, 64, crop)
    if placed is None:
        assert min(width, height) * min(1, (512 * 512 / (width * height)) ** 0.5) < 64
        return
    assert placed.bucket[0] % 64 == placed.bucket[1] % 64 == 0
    assert placed.bucket[0] * placed.bucket[1] <= 512 * 512
    assert placed.scaled[0] <= width
    assert placed.scaled[1] <= height
    assert all(whole >= kept for whole, kept in zip(placed.scaled, placed.bucket, strict=True))
    if crop == "random":
        assert placed.scaled[0] % 8 == placed.scaled[1] % 8 == 0


def test_a_caption_comes_from_its_file_or_from_the_name(tmp_path: Path) -> None:
    assert read_caption(tmp_path / "00012-0-cat.png") == "cat"
    (tmp_path / "00012-0-cat.txt").write_text("\ufeffa cat,\n on a mat \n", encoding="utf-8")
    assert read_caption(tmp_path / "00012-0-cat.png") == "a cat, on a mat"
    (tmp_path / "00012-0-cat.txt").write_bytes(b"\0" * 10)
    with pytest.raises(HypernetError, match="no caption"):
        read_caption(tmp_path / "00012-0-cat.png")


def test_a_template_holds_the_name_and_the_caption(tmp_path: Path) -> None:
    (tmp_path / "style.txt").write_text("a picture of [filewords], [name]\n\n[filewords]\n", encoding="utf-8")
    wording = Wording("ink", read_templates(tmp_path / "style.txt"))
    assert wording.texts("a cat") == ["a picture of a cat, ink", "a cat"]


def test_tags_are_shuffled_and_dropped_but_for_the_first() -> None:
    wording = Wording(shuffle_tags=True, keep_tags=1, tag_drop_out=0.5)
    texts = {wording.text("one, two, three, four", chance.choices(0, number)) for number in range(50)}
    assert len(texts) > 5
    assert all(text.startswith("one") for text in texts)
    assert {len(text.split(", ")) for text in texts} == {1, 2, 3, 4}
    assert Wording(caption_drop_out=0.5).texts("a cat") == ["a cat", ""]


@pytest.mark.parametrize(
    "wrong", [{"tag_drop_out": 1.0}, {"caption_drop_out": -1.0}, {"keep_tags": -1}, {"templates": ()}]
)
def test_a_wording_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(HypernetError):
        Wording(**wrong).check()


def test_common_words_are_counted_once_a_caption() -> None:
    assert common_words(["red, ink, red", "ink"])[0] == ("ink", 2)
    assert common_words(["a red cat", "a dog"])[0] == ("a", 2)


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    paint(tmp_path / "good.png")
    paint(tmp_path / "again.webp", seed=1)
    (tmp_path / "copy.png").write_bytes((tmp_path / "good.png").read_bytes())
    paint(tmp_path / "tiny.png", (20, 20))
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "notes.doc").write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    paint(tmp_path / ".hidden" / "x.png", seed=9)
    found = look(tmp_path)
    assert {picture.path.name for picture in found.pictures} == {"again.webp", "copy.png"}
    said = "\n".join(map(str, found.problems))
    for sentence in (
        "good.png: The same picture as copy.png",
        "tiny.png: It is too small (20x20)",
        "broken.png: It can't be read",
        "page.jpg: It can't be read",
    ):
        assert sentence in said


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HypernetError, match="no such folder"):
        look(tmp_path / "nowhere")
    with pytest.raises(HypernetError, match="no picture"):
        look(tmp_path)


def test_a_subfolder_may_say_how_often_it_counts(tmp_path: Path) -> None:
    paint(tmp_path / "3_cats" / "a.png")
    paint(tmp_path / "b.png", seed=1)
    assert sorted(picture.repeats for picture in look(tmp_path).pictures) == [1, 3]


def test_a_fifth_is_held_out_always_the_same(tmp_path: Path) -> None:
    pictures = tuple(Picture(Path(f"{n}.png"), "", (64, 64), f"{n:03}") for n in range(20))
    shown, held = split(Collection(pictures, ()), None, 0)
    assert (len(shown), len(held)) == (16, 4)
    assert split(Collection(pictures[::-1], ()), None, 0)[1] == held
    assert len(split(Collection(pictures[:1], ()), None, 0)[0]) == 1
    regular = tuple(replace(picture, regular=True) for picture in pictures[1:])
    assert split(Collection((pictures[0], *regular), ()), 5, 0)[1] == []


@pytest.fixture(scope="module")
def base() -> Base:
    return Base(pipeline("sd1"), "tiny")


def dataset(base: Base, folder: Path, cache: Path, wording: Wording | None = None, **drawing: Any) -> Dataset:
    made = Dataset(base, wording or Wording(), Drawing(16 * 16, **drawing), Cache(cache))
    made.items = made.read(look(folder, use_weight=True).pictures)
    return made


def test_every_epoch_shows_every_picture_as_often_as_it_is_repeated(base: Base, tmp_path: Path) -> None:
    for number in range(5):
        paint(tmp_path / "p" / f"{number}.png", (64, 64), number)
    paint(tmp_path / "p" / "2_wide" / "w.png", (128, 64), 9)
    made = dataset(base, tmp_path / "p", tmp_path / "c", batch_size=2)
    for epoch in range(3):
        batches = [made.batch(epoch * made.steps_per_epoch + place) for place in range(made.steps_per_epoch)]
        assert sum(map(len, batches)) == 7
        assert sum(len(batch) for batch in batches if batch.latents.shape[-1] != batch.latents.shape[-2]) == 2
    assert not torch.equal(made.batch(0).noise, made.batch(made.steps_per_epoch).noise)


def test_a_batch_follows_from_its_number(base: Base, tmp_path: Path) -> None:
    for number in range(4):
        paint(tmp_path / "p" / f"{number}.png", (90, 70), number)
    options: dict[str, Any] = {"crop": "random", "flip": True, "sampling": "random", "noise_offset": 0.1}
    one, other = (dataset(base, tmp_path / "p", tmp_path / str(n), **options) for n in range(2))
    for index in (7, 0, 3):
        first, second = one.batch(index), other.batch(index)
        assert torch.equal(first.latents, second.latents)
        assert torch.equal(first.noise, second.noise)
        assert torch.equal(first.timesteps, second.timesteps)


def test_the_timesteps_of_a_batch_are_spread_over_all(base: Base, tmp_path: Path) -> None:
    for number in range(4):
        paint(tmp_path / "p" / f"{number}.png", (64, 64), number)
    made = dataset(base, tmp_path / "p", tmp_path / "c")
    drawn = torch.cat([made.batch(index).timesteps for index in range(200)])
    assert int(drawn.min()) < 20
    assert int(drawn.max()) > 980
    assert abs(float(drawn.float().mean()) - 499.5) < 10
    assert {int(t) // 250 for t in made.batch(0).timesteps} == {0, 1, 2, 3}


def test_a_mask_weighs_the_loss_where_it_lies(base: Base, tmp_path: Path) -> None:
    """A1111: NaN where all is opaque, and scrambled where the picture is not square."""
    pixels = np.full((64, 128, 4), 255, np.uint8)
    pixels[:, 64:, 3] = 0
    (tmp_path / "p").mkdir()
    Image.fromarray(pixels).save(tmp_path / "p" / "half.png")
    paint(tmp_path / "p" / "opaque.png", (128, 64), 3, "RGBA")
    opaque = np.asarray(Image.open(tmp_path / "p" / "opaque.png")).copy()
    opaque[..., 3] = 255
    Image.fromarray(opaque).save(tmp_path / "p" / "opaque.png")
    made = dataset(base, tmp_path / "p", tmp_path / "c")
    (batch,) = [made.batch(index) for index in range(made.steps_per_epoch)]
    assert batch.weight is not None
    for weight in batch.weight:
        assert float(weight.mean()) == pytest.approx(1, abs=1e-5)
        assert torch.isfinite(weight).all()
    half = next(weight for weight in batch.weight if weight.std() > 0)
    middle = half.shape[-1] // 2
    assert float(half[..., : middle - 1].min()) == pytest.approx(10 * float(half[..., middle + 1 :].max()), rel=0.01)


def test_a_mask_file_counts_and_an_empty_one_is_told(base: Base, tmp_path: Path) -> None:
    paint(tmp_path / "p" / "a.png", (64, 64))
    Image.new("L", (64, 64), 0).save(tmp_path / "p" / "a-masklabel.png")
    found = look(tmp_path / "p", use_weight=True)
    assert "Its mask is empty" in str(found.problems[0])
    made = dataset(base, tmp_path / "p", tmp_path / "c")
    weight = made.batch(0).weight
    assert weight is not None
    assert torch.allclose(weight, torch.ones_like(weight))


def test_what_changed_is_read_again_and_nothing_else(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        paint(tmp_path / "p" / f"{number}.png", (64, 64), number)
        (tmp_path / "p" / f"{number}.txt").write_text("a cat")
    read: list[str] = []
    for name in ("read_picture", "read_texts"):
        real = getattr(Base, name)
        monkeypatch.setattr(Base, name, lambda self, what, real=real, name=name: read.append(name) or real(self, what))

    def again(base: Base) -> list[str]:
        read.clear()
        dataset(base, tmp_path / "p", tmp_path / "c")
        return list(read)

    assert again(base) == ["read_picture", "read_texts", "read_picture"]
    assert again(base) == []
    (tmp_path / "p" / "1.txt").write_text("a dog")
    assert again(base) == ["read_texts"]
    paint(tmp_path / "p" / "1.png", (64, 64), 7)
    assert again(base) == ["read_picture"]
    for damaged in (tmp_path / "c").iterdir():
        damaged.write_bytes(b"\0")
    assert len(again(base)) == 4
    other = pipeline("sd1")
    with torch.no_grad():
        other.vae.encoder.conv_in.weight += 1
    assert again(Base(other, "tiny")) == ["read_picture", "read_picture"]


def test_a_picture_too_small_for_the_model_is_told(base: Base, tmp_path: Path) -> None:
    paint(tmp_path / "p" / "thin.png", (3000, 64))
    made = dataset(base, tmp_path / "p", tmp_path / "c")
    assert made.items == []
    assert "too small" in str(made.problems[0])


def test_sdxl_is_told_the_size_and_the_crop_of_each_picture(tmp_path: Path) -> None:
    base = Base(pipeline("sdxl"), "tiny")
    paint(tmp_path / "p" / "a.png", (100, 64))
    made = dataset(base, tmp_path / "p", tmp_path / "c")
    (batch,) = [made.batch(0)]
    height, width, top, left, *now = batch.added["time_ids"][0].tolist()
    assert (height, width) == (64, 100)
    assert now == [batch.latents.shape[-2] * 2, batch.latents.shape[-1] * 2]
    assert (top, left) == (0, 0) or max(top, left) <= 4
    assert batch.added["text_embeds"].shape == (1, 12)


def test_an_inpainting_model_is_refused() -> None:
    with pytest.raises(HypernetError, match="fills in parts"):
        Base(pipeline("sd1", channels=9), "tiny")
