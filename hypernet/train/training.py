"""`train`: a folder of pictures and a name become a hypernetwork."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hypernet.atomic import writing
from hypernet.errors import HypernetError
from hypernet.files import load
from hypernet.files.pt.optimizer import load_optimizer
from hypernet.network import Network
from hypernet.train.base import Base
from hypernet.train.data.cache import Cache
from hypernet.train.data.captions import common_words
from hypernet.train.data.dataset import Dataset, Drawing, split
from hypernet.train.data.pictures import Collection, Picture, look
from hypernet.train.finish import Result, finish, verdict, write_files
from hypernet.train.moments import give_moments
from hypernet.train.nets import new_network, trainable
from hypernet.train.preview import preview_strip
from hypernet.train.rates import Rates
from hypernet.train.run import TIMESTEPS, Run
from hypernet.train.settings import AUTO, Settings
from hypernet.train.steps import Batch, Clip, Trainer, checkpoint
from hypernet.train.store import Store

if TYPE_CHECKING:
    from accelerate import Accelerator

RETRY_SECONDS = 10.0
"""Between tries to write the files to a disk that refuses."""

_log = logging.getLogger(__name__)

Watch = Callable[[dict[str, Any]], None]
"""Is told what happens: `state`; `step`, `loss` and `rate`; `step`, `held_out` and `ratio`; `note`; `done` and `of`."""


def train(settings: Settings, watch: Watch = lambda event: None, base: Base | None = None) -> Result | None:
    """Trains in this process to the end, going on where an earlier run of the same settings was interrupted.

    base: the model, if it is open already. Returns None where somebody asked for a pause. Raises HypernetError, in
    words, for settings, pictures or models it can't train with.
    """
    from accelerate import Accelerator

    settings.check()
    store = Store(settings.state)
    accelerator = Accelerator(mixed_precision=_precision(settings))
    if not accelerator.is_main_process:
        return _train(settings, base, store, accelerator, lambda **event: None)
    store.folder.mkdir(parents=True, exist_ok=True)
    with store.at_work():
        reporter = Reporter(settings, store, watch)
        try:
            store.wish()
            store.write_settings(settings.to_json())
            result = _train(settings, base, store, accelerator, reporter.tell)
        except BaseException as error:
            reporter.tell(state="failed", note=str(error) or type(error).__name__)
            raise
        reporter.tell(state="paused" if result is None else "finished", result=result)
        return result


def _train(
    settings: Settings, base: Base | None, store: Store, accelerator: Accelerator, tell: Callable[..., None]
) -> Result | None:
    tell(state="preparing")
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(accelerator.mixed_precision, torch.float32)
    base = base or Base.open(Path(settings.checkpoint), dtype, settings.clip_skip)
    pictures = prepared(settings, base, store, accelerator, tell)
    trainer = make_trainer(settings, base, accelerator, tell)
    run = Run(settings, trainer, pictures.dataset, pictures.fixed, store, tell, pictures.measured)
    try:
        if run.go() == "paused":
            return None
        return _finished(run, base, pictures, tell)
    finally:
        trainer.close()


@dataclass(frozen=True)
class Prepared:
    """Pictures that were read. fixed: what losses are compared on; measured: whether that was held out of training."""

    pictures: Sequence[Picture]
    dataset: Dataset
    fixed: Sequence[Batch]
    measured: bool


def prepared(
    settings: Settings, base: Base, store: Store, accelerator: Accelerator, tell: Callable[..., None]
) -> Prepared:
    """Reads the pictures and their captions, from the cache where they are in it."""
    collection = looked_at(settings)
    side = settings.resolution or base.resolution
    drawing = Drawing(
        side * side,
        settings.batch_size,
        settings.crop,
        settings.flip,
        settings.latent_sampling_method,
        settings.noise_offset,
        settings.prior_weight,
        settings.seed,
    )
    dataset = Dataset(base, settings.wording, drawing, Cache(store.cache))
    shown, held = split(collection, None if settings.held_out < 0 else settings.held_out, settings.seed)
    total, done = len(shown) + len(held), 0

    def advance() -> None:
        nonlocal done
        done += 1
        tell(done=done, of=total)

    base.move_encoders(accelerator.device)
    dataset.items = dataset.read(shown, advance)
    held_items = dataset.read(held, advance)
    if not settings.wording.varied:
        base.move_encoders("cpu")
    for problem in (*collection.problems, *dataset.problems):
        tell(note=str(problem))
    if not dataset.items:
        raise HypernetError(f"{settings.folder}: no picture is large enough for this model.")
    steps = len(base.noise.kept)
    timesteps = [int((place + 0.5) * steps / TIMESTEPS) for place in range(TIMESTEPS)]
    fixed = list(dataset.fixed(held_items or dataset.items[:4], timesteps))
    base.unet.to(accelerator.device)
    return Prepared([*shown, *held], dataset, fixed, bool(held_items))


def looked_at(settings: Settings) -> Collection:
    """The pictures of the folder, with those of what must not change. Raises HypernetError."""
    found = look(Path(settings.folder), use_weight=settings.use_weight)
    if not settings.regularisation:
        return found
    others = look(Path(settings.regularisation), use_weight=settings.use_weight, regular=True)
    return Collection(found.pictures + others.pictures, found.problems + others.problems)


def make_trainer(settings: Settings, base: Base, accelerator: Accelerator, tell: Callable[..., None]) -> Trainer:
    """The network, new or from a file, on the UNet. Raises HypernetError."""
    network = _start(settings, base)
    if settings.gradient_checkpointing:
        checkpoint(base.unet)
    first = network.metadata.step or 0
    trainer = Trainer(
        base.unet,
        trainable(network, accelerator.device),
        base.noise,
        Rates(((0.0, settings.steps),)),  # until it is known what was found or saved
        optimizer=settings.optimizer,
        clip=Clip.read(settings.clip_grad_mode, settings.clip_grad_value, settings.steps),
        min_snr=settings.gamma(base.noise.v_prediction),
        accelerator=accelerator,
    )
    moments = Path(f"{settings.start_from}.optim")
    if settings.start_from and moments.is_file():
        try:
            state = load_optimizer(moments)
            if not state.belongs(settings.start_from):
                raise HypernetError(f"{moments.name} was saved with another file; training goes on from fresh moments.")
            give_moments(trainer.optimizer, settings.optimizer, state, trainer.network)
            tell(note=f"Goes on from step {first}, with the moments in {moments.name}.")
        except (HypernetError, OSError) as error:
            tell(note=str(error))
    return trainer


def _start(settings: Settings, base: Base) -> Network:
    if settings.start_from:
        network = load(settings.start_from)
        if not set(network.widths) & set(base.widths):
            raise HypernetError(f"{Path(settings.start_from).name} is for another base model.")
        return network
    widths = settings.enable_sizes or base.widths
    if lacking := set(widths) - set(base.widths):
        known = ", ".join(map(str, base.widths))
        raise HypernetError(f"This model has no width {min(lacking)}; it has {known}.")
    return new_network(widths, settings.structure, settings.seed)


def _finished(run: Run, base: Base, pictures: Prepared, tell: Callable[..., None]) -> Result:
    """Calibrates and saves, first of all the network itself."""
    tell(state="finishing")
    network, calibration = finish(run, base, pictures.pictures, pictures.measured)
    trigger = ", ".join(
        word for word, count in common_words(p.caption for p in pictures.pictures) if count > len(pictures.pictures) / 2
    )
    files: tuple[Path, ...] = ()
    if run.trainer.accelerator.is_main_process:
        files = _written(run, network, calibration, trigger, tell)
        files += _previewed(run, base, pictures, calibration, tell)
    said = verdict(run.progress, pictures.measured)
    return Result(said, run.progress.best_step, run.progress.best / run.progress.without, calibration, files)


def _written(run: Run, network: Network, calibration: Any, trigger: str, tell: Callable[..., None]) -> tuple[Path, ...]:
    """Tries until the disk takes it, or somebody asks for a pause: the state is whole, so nothing is lost by that."""
    while True:
        try:
            return write_files(run.settings, network, calibration, trigger)
        except OSError as error:
            tell(state="waiting", note=f"The file can't be written ({error.strerror}). Make room: it is tried again.")
        if run.store.wished() == "pause":
            raise HypernetError("The file could not be written. Make room, and continue.")
        time.sleep(RETRY_SECONDS)


def _previewed(
    run: Run, base: Base, pictures: Prepared, calibration: Any, tell: Callable[..., None]
) -> tuple[Path, ...]:
    path = Path(run.settings.output) / f"{run.settings.name}.png"
    prompt = run.settings.preview or pictures.pictures[-1].caption
    strengths = sorted({0.0, 0.5, 1.0, calibration.preferred})
    try:
        image = preview_strip(base, run.trainer, prompt, strengths, f"{prompt} <hypernet:{run.settings.name}:…>")
        with writing(path) as stream:
            image.save(stream, "PNG")
    except Exception as error:  # the network is saved; a picture of it is not worth a failure
        _log.warning("no preview", exc_info=True)
        tell(note=f"There is no preview: {error}")
        return ()
    return (path,)


class Reporter:
    """Passes on what happens: to the log, to the status that others read, and to who watches."""

    def __init__(self, settings: Settings, store: Store, watch: Watch) -> None:
        self._store, self._watch = store, watch
        self._status: dict[str, Any] = {"name": settings.name, "steps": settings.steps}
        self._written = 0.0

    def tell(self, **event: Any) -> None:
        """Any of the keywords that `Watch` names, and `result` at the end."""
        result: Result | None = event.pop("result", None)
        if result is not None:
            event |= {
                "verdict": result.verdict,
                "best_step": result.best_step,
                "ratio": result.ratio,
                "strength": result.calibration.preferred,
                "useful": list(result.calibration.useful),
                "files": [str(file) for file in result.files],
            }
        self._status.update(event)
        if not event.keys() & {"done"}:
            self._store.write_log(time=round(time.time(), 1), **event)
        if "state" in event or time.monotonic() - self._written > 1:
            self._written = time.monotonic()
            self._store.write_status(**self._status)
        self._watch(event)


def _precision(settings: Settings) -> str:
    if settings.mixed_precision != AUTO:
        return settings.mixed_precision
    if not torch.cuda.is_available():
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
