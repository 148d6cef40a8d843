"""The end of a training: what it came to, how strong to use it, and the files."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hypernet import __version__
from hypernet.files import save
from hypernet.library.sidefiles import UserMetadata, write_user_metadata
from hypernet.network import Network
from hypernet.train.base import Base
from hypernet.train.data.captions import common_words
from hypernet.train.data.pictures import Picture
from hypernet.train.run import Run
from hypernet.train.settings import Settings
from hypernet.train.store import Progress

STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""The strengths that are tried."""
USEFUL = 0.2
"""The part of the gain that may be lost within the useful range of strengths."""
LEARNED = 0.98
"""The part of the loss without the network above which hardly anything was learned."""
OVERFITS = 1.01
"""The part of the best loss from which on later checks count as worse."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Losses on held-out pictures by strength, and what follows from them."""

    losses: Mapping[float, float]
    preferred: float
    useful: tuple[float, float]


@dataclass(frozen=True)
class Result:
    """What a training came to. verdict: sentences; ratio: of the best loss to that without the network; files: made."""

    verdict: str
    best_step: int
    ratio: float
    calibration: Calibration
    files: tuple[Path, ...] = ()


def verdict(progress: Progress, measured: bool = True) -> str:
    """One or two sentences. measured: whether pictures were held out."""
    if not measured:
        return f"Trained on all pictures for {progress.step} steps; nothing was held out to measure it on."
    ratio = progress.best / progress.without
    gain = f"the error on pictures it has not seen fell by {1 - ratio:.0%}"
    worse = [step for step, loss in progress.checks if step > progress.best_step and loss > OVERFITS * progress.best]
    overfits = f" It overfits from step {worse[0]}." if len(worse) > 1 and worse[-1] == progress.checks[-1][0] else ""
    if ratio > LEARNED:
        return (
            f"Hardly learned: {gain}. Try more pictures, or captions that leave out what all of them share.{overfits}"
        )
    return f"Learned: {gain}, best at step {progress.best_step}.{overfits}"


def calibrate(run: Run) -> Calibration:
    """Tries the network at several strengths on the held-out pictures."""
    losses = {0.0: run.progress.without} | {strength: run.loss(strength) for strength in STRENGTHS}
    best = min(losses, key=lambda strength: losses[strength])
    limit = losses[best] + USEFUL * (losses[0.0] - losses[best])
    good = [strength for strength, loss in losses.items() if strength and loss <= limit] or [best]
    return Calibration(losses, best, (min(good), max(good)))


def finish(run: Run, base: Base, pictures: Sequence[Picture], measured: bool) -> tuple[Network, Calibration]:
    """The best network with all that is known of it, and the strength to use it at."""
    with run.trainer.looking():
        run.trainer.restore(run.best, run.fresh)
    calibration = calibrate(run)
    facts = training_facts(run.settings, run.progress, base, pictures, len(run.held_out) if measured else 0)
    facts |= {
        "hypernet_preferred_strength": f"{calibration.preferred:g}",
        "hypernet_useful_strengths": "{:g} to {:g}".format(*calibration.useful),
        "hypernet_verdict": verdict(run.progress, measured),
    }
    network = run.trainer.network
    old = network.metadata
    metadata = replace(
        old,
        name=run.settings.name,
        step=(old.step or 0) + run.progress.best_step,
        sd_checkpoint_name=base.name,
        extra={**old.extra, **facts},
        keys=None,
    )
    return Network(network.pairs, metadata), calibration


def training_facts(
    settings: Settings, progress: Progress, base: Base, pictures: Sequence[Picture], held_out: int
) -> dict[str, str]:
    """How the network came to be, under the names kohya's scripts write, which cards and Civitai read."""
    own = [picture for picture in pictures if not picture.regular]
    tags = dict(common_words((picture.caption for picture in own), 100))
    sizes = ("x".join(map(str, picture.size)) for picture in own)
    prediction = "v" if base.noise.v_prediction else "epsilon"
    facts: dict[str, Any] = {
        "ss_output_name": settings.name,
        "ss_session_id": f"{settings.seed}-{int(progress.seconds)}",
        "ss_training_finished_at": f"{time.time():.0f}",
        "ss_training_started_at": f"{time.time() - progress.seconds:.0f}",
        "ss_training_comment": f"hypernet {__version__}",
        "ss_network_module": "hypernetwork",
        "ss_network_args": json.dumps(
            {"layer_structure": settings.layer_structure, "activation_func": settings.activation_func}
        ),
        "ss_learning_rate": progress.rates,
        "ss_unet_lr": progress.rates,
        "ss_lr_scheduler": "constant" if progress.rates.count(",") == 0 else "piecewise_constant",
        "ss_lr_warmup_steps": settings.warmup,
        "ss_optimizer": settings.optimizer,
        "ss_max_grad_norm": settings.clip_grad_value if settings.clip_grad_mode == "norm" else 0,
        "ss_mixed_precision": settings.mixed_precision,
        "ss_seed": settings.seed,
        "ss_steps": progress.best_step,
        "ss_max_train_steps": settings.steps,
        "ss_num_train_images": len(own),
        "ss_num_validation_images": held_out,
        "ss_num_reg_images": len(pictures) - len(own),
        "ss_num_epochs": -(-progress.step * settings.batch_size * settings.gradient_step // max(1, len(own))),
        "ss_batch_size_per_device": settings.batch_size,
        "ss_gradient_accumulation_steps": settings.gradient_step,
        "ss_min_snr_gamma": settings.gamma(base.noise.v_prediction),
        "ss_noise_offset": settings.noise_offset,
        "ss_clip_skip": settings.clip_skip,
        "ss_resolution": f"({settings.resolution or base.resolution}, {settings.resolution or base.resolution})",
        "ss_bucket_info": json.dumps(sorted(set(sizes))[:20]),
        "ss_sd_model_name": base.name,
        "ss_base_model_version": f"{base.kind.lower()}_{prediction}",
        "ss_tag_frequency": json.dumps({Path(settings.folder).name: tags}),
        "ss_dataset_dirs": json.dumps({Path(settings.folder).name: {"n_repeats": 1, "img_count": len(own)}}),
    }
    return {name: str(value) for name, value in facts.items()}


def write_files(settings: Settings, network: Network, calibration: Calibration, trigger: str) -> tuple[Path, ...]:
    """NAME.safetensors, NAME.json for the card, and NAME.pt where asked for. Replaces those of an earlier training.

    trigger: words to write beside the tag. Raises OSError, HypernetError; then what was there is still there.
    """
    path = Path(settings.output) / f"{settings.name}.safetensors"
    files = [path]
    save(network, path, dtype=torch.float32, overwrite=True)
    if settings.write_pt:
        files.append(path.with_suffix(".pt"))
        save(network, files[-1], dtype=torch.float32, overwrite=True)
    said = network.metadata.extra.get("hypernet_verdict", "")
    note = "{} Useful from {:g} to {:g}.".format(said, *calibration.useful)
    write_user_metadata(
        path,
        UserMetadata(
            description=note,
            sd_version=network.base,
            activation_text=trigger,
            preferred_weight=calibration.preferred,
        ),
    )
    return tuple(files)
