"""All that a training is told, with defaults that need no thought. The advanced names are A1111's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hypernet.errors import HypernetError
from hypernet.library.scan import WORK
from hypernet.train.data.buckets import CROPS
from hypernet.train.data.captions import Wording
from hypernet.train.data.dataset import SAMPLINGS
from hypernet.train.nets import Structure
from hypernet.train.optimizers import OPTIMIZERS
from hypernet.train.rates import read_rates
from hypernet.train.steps import Clip

AUTO = "auto"
"""A setting that the run chooses itself."""
AUTO_SNR = -1.0
"""The same for `min_snr`, which is a number."""
SNR = 5.0
"""The `min_snr` that is chosen."""
_NAME = re.compile(r"[\w.\- ]+")


@dataclass(frozen=True)
class Settings:
    """One training. Paths are texts, so that all of this fits into JSON.

    folder: pictures and captions; name: of the network and its file; checkpoint: the base model; output: the folder
    the file goes into. The rest has its meaning beside it.
    """

    folder: str
    name: str
    checkpoint: str
    output: str = "."

    # The network (A1111: Create hypernetwork)
    enable_sizes: tuple[int, ...] = ()
    """Widths that get nets; none: all that the model has."""
    layer_structure: tuple[float, ...] = (1, 2, 1)
    activation_func: str = "linear"
    weight_init: str = "Normal"
    add_layer_norm: bool = False
    dropout_structure: tuple[float, ...] = ()
    start_from: str = ""
    """A hypernetwork file to go on with, with its `.optim` if one lies beside it; then its structure counts."""

    # Training
    learn_rate: str = AUTO
    """A rate or a schedule such as `1e-3:100, 1e-4`; auto: found by a short search."""
    steps: int = 3000
    """At most; it ends earlier where held-out pictures stop getting better."""
    batch_size: int = 4
    gradient_step: int = 1
    """Batches that make one step (gradient accumulation)."""
    clip_grad_mode: str = "norm"
    clip_grad_value: str = "1.0"
    optimizer: str = "AdamW"
    warmup: int = 10
    """Steps over which the rate rises from nothing, at the start and after each setback."""
    min_snr: float = AUTO_SNR
    """Gamma of the weights of timesteps; 0: all weigh the same, as in A1111; -1: 5 for models that predict noise, as
    the paper advises, and 0 for those that predict v, whose loss is even already."""
    noise_offset: float = 0.0
    seed: int = 0
    early_stop: bool = True

    # Pictures
    resolution: int = 0
    """Side of a square of the area pictures are trained at; 0: the model's own."""
    crop: str = "center"
    flip: bool = False
    use_weight: bool = False
    """Whether alpha channels and NAME-masklabel.png weigh the loss."""
    latent_sampling_method: str = "deterministic"
    held_out: int = -1
    """Pictures kept for measuring; -1: a fifth of them."""
    regularisation: str = ""
    """A folder of pictures of what must not change."""
    prior_weight: float = 1.0

    # Captions
    template: tuple[str, ...] = ("[filewords]",)
    shuffle_tags: bool = False
    keep_tags: int = 0
    tag_drop_out: float = 0.0
    caption_drop_out: float = 0.0

    # Machine
    clip_skip: int = 1
    gradient_checkpointing: bool = False
    """Less memory, slower; taken by itself when memory runs out."""
    mixed_precision: str = AUTO
    """no, fp16 or bf16; auto: bf16 or fp16 on a GPU, no on the processor."""

    # At the end
    preview: str = ""
    """What the preview shows; without it the caption of a picture."""
    write_pt: bool = False
    """A `.pt` for A1111 beside the `.safetensors`."""

    def check(self) -> None:
        """Raises HypernetError, with the reason, for what makes no sense. Looks at no file."""
        if not _NAME.fullmatch(self.name) or self.name.strip(". ") == "":
            raise HypernetError("The name may have letters, digits, spaces, dots, dashes and underscores.")
        self.structure.check()
        self.wording.check()
        if self.learn_rate != AUTO:
            rates = read_rates(self.learn_rate, self.steps)
            if not any(rate for rate, _ in rates.pieces):
                raise HypernetError("With a learning rate of 0 nothing is learned.")
        Clip.read(self.clip_grad_mode, self.clip_grad_value, self.steps)
        for what, value, known in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("crop", self.crop, CROPS),
            ("latent sampling method", self.latent_sampling_method, SAMPLINGS),
            ("mixed precision", self.mixed_precision, (AUTO, "no", "fp16", "bf16")),
        ):
            if value not in known:
                raise HypernetError(f"There is no {what} “{value}”. Choose one of {', '.join(known)}.")
        for what, number, least in (
            ("number of steps", self.steps, 1),
            ("batch size", self.batch_size, 1),
            ("number of batches for a step", self.gradient_step, 1),
            ("warm-up", self.warmup, 0),
            ("min-SNR", 0 if self.min_snr == AUTO_SNR else self.min_snr, 0),
            ("resolution", self.resolution, 0),
            ("clip skip", self.clip_skip, 1),
            ("prior weight", self.prior_weight, 0),
        ):
            if not number >= least:
                raise HypernetError(f"The {what} must be {least} or more, not {number}.")

    def gamma(self, v_prediction: bool) -> float | None:
        """Of min-SNR, for a model that predicts v or the noise; None for weights that are all alike."""
        usual = 0.0 if v_prediction else SNR
        return (usual if self.min_snr == AUTO_SNR else self.min_snr) or None

    @property
    def structure(self) -> Structure:
        """The shape of a new network."""
        return Structure(
            self.layer_structure, self.activation_func, self.add_layer_norm, self.weight_init, self.dropout_structure
        )

    @property
    def wording(self) -> Wording:
        """How captions become prompts."""
        return Wording(
            self.name, self.template, self.shuffle_tags, self.keep_tags, self.tag_drop_out, self.caption_drop_out
        )

    @property
    def state(self) -> Path:
        """The folder in which everything about this training is kept while it lasts."""
        return Path(self.output) / f"{self.name}{WORK}"

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Raises HypernetError for what is no settings, or holds a setting that isn't known."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise HypernetError("The settings can't be read: they are no JSON.") from error
        if not isinstance(values, dict):
            raise HypernetError("The settings can't be read: they are no table of names and values.")
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """The same from a table. A list may stand for a tuple, a text for the path it spells."""
        known = {field.name: field for field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise HypernetError(f"There is no setting “{name}”.")
            like = getattr(cls, name, "")
            if not (_is_series(value, name) if isinstance(like, tuple) else _is_like(value, like)):
                raise HypernetError(f"The setting “{name}” can't be {value!r}.")
        if lacking := {"folder", "name", "checkpoint"} - values.keys():
            raise HypernetError(f"The setting “{min(lacking)}” is missing.")
        made: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}
        return cls(**made)

    def located(self) -> Settings:
        """The same with whole paths, which mean the same to a process that runs elsewhere."""
        paths = ("folder", "checkpoint", "output", "start_from", "regularisation")
        given = {name: getattr(self, name) for name in paths if getattr(self, name)}
        whole: dict[str, Any] = {name: str(Path(path).absolute()) for name, path in given.items()}
        return replace(self, **whole)

    def on_all_pictures(self, steps: int, learn_rate: str) -> Settings:
        """The same training without held-out pictures, for as many steps as were best."""
        return replace(self, held_out=0, steps=max(1, steps), learn_rate=learn_rate, early_stop=False)


def _is_series(value: object, name: str) -> bool:
    kinds = str if name == "template" else (int, float)
    return isinstance(value, (list, tuple)) and all(isinstance(one, kinds) for one in value)


def _is_like(value: object, like: object) -> bool:
    if isinstance(like, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(like, bool)
    return isinstance(value, (int, float)) if isinstance(like, float) else isinstance(value, type(like))


def value_of(name: str, text: str) -> object:
    """A typed text as a value of the setting's kind. Numbers in a list stand between commas, texts between |."""
    like = getattr(Settings, name, "")
    if isinstance(like, str):
        return text
    if name == "template":
        return [line.strip() for line in text.split("|")]
    parts = [_number(part) for part in text.split(",") if part.strip()]
    return parts if isinstance(like, tuple) else parts[0] if len(parts) == 1 else text


def _number(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
