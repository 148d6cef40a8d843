"""One `.safetensors` file of SD1, SD2 or SDXL -> a diffusers pipeline, without going online.

diffusers converts the weights. The configs and tokenizers that it would download for that are written from `configs/`
into a temporary folder. Key names: CompVis/stable-diffusion and Stability-AI/generative-models.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from hypernet.errors import HypernetError
from hypernet.network import TEXT_WIDTHS
from hypernet.pipeline.clip import END, write_tokenizer

CONFIGS = Path(__file__).parent / "configs"
"""A file for each kind of base model: file name in diffusers' layout -> content."""
DIFFUSERS = (0, 31)
"""The oldest version that loads a single file from configs alone."""

_UNET = "model.diffusion_model."
_INPUT = _UNET + "input_blocks.0.0.weight"
_CONTEXT = re.compile(re.escape(_UNET) + r"input_blocks\.\d+\.1\.transformer_blocks\.0\.attn2\.to_k\.weight")
_KINDS: Mapping[int, str] = {width: base.lower() for width, base in TEXT_WIDTHS.items()}
_PARTS: Mapping[str, tuple[str, ...]] = {
    "text encoder": ("cond_stage_model.", "conditioner.embedders."),
    "VAE": ("first_stage_model.",),
}


@dataclass(frozen=True)
class Checkpoint:
    """What the keys and shapes of a checkpoint say about it."""

    kind: str
    """'sd1', 'sd2' or 'sdxl': a name in `configs/`."""
    channels: int
    """Channels the UNet takes: 4, or 9 for an inpainting model."""
    prediction: str | None
    """'epsilon' or 'v_prediction' if the file says so; None for SD2, whose files don't."""
    zero_terminal_snr: bool = False


def inspect_checkpoint(path: Path) -> Checkpoint:
    """Reads the header of a checkpoint. Raises HypernetError for everything that `load_pipeline` can't load."""
    if path.suffix.lower() != ".safetensors":
        raise HypernetError(
            f"{path.name}: only .safetensors checkpoints are read (opening a .ckpt can run code). "
            "Convert it first, for example with a WebUI's checkpoint merger."
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise HypernetError(f"{path.name}: it can't be read as a safetensors file ({error}).") from error
    return _recognise(path.name, shapes)


def _recognise(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Checkpoint:
    contexts = {shape[1] for key, shape in shapes.items() if _CONTEXT.fullmatch(key)}
    if not contexts or _INPUT not in shapes:
        raise HypernetError(
            f"{name}: this is no Stable Diffusion checkpoint in one file: it has no UNet under “{_UNET}”. "
            "Give the model itself, not a LoRA, VAE or hypernetwork."
        )
    kind = _KINDS.get(next(iter(contexts))) if len(contexts) == 1 else None
    if kind is None:
        widths = ", ".join(str(width) for width in sorted(contexts))
        raise HypernetError(f"{name}: a model with text context {widths} is not known; SD1, SD2 and SDXL base are.")
    for part, prefixes in _PARTS.items():
        if not any(key.startswith(prefixes) for key in shapes):
            raise HypernetError(f"{name}: the {part} is missing in this file. Take the full checkpoint.")
    channels = shapes[_INPUT][1]
    if channels not in (4, 9):
        raise HypernetError(f"{name}: its UNet takes {channels} channels; only 4 and 9 (inpainting) are known.")
    stated = "v_prediction" if "v_pred" in shapes else None if kind == "sd2" else "epsilon"
    return Checkpoint(kind, channels, stated, zero_terminal_snr="ztsnr" in shapes)


def load_pipeline(path: str | Path, *, dtype: torch.dtype = torch.float32, prediction: str | None = None) -> Any:
    """A checkpoint file, or a folder in diffusers' layout, as a diffusers text-to-image pipeline on the CPU.

    prediction: 'epsilon' or 'v_prediction', for a file that doesn't say; without it, one UNet call on noise shows which
    one an SD2 model predicts. An inpainting checkpoint becomes an inpainting pipeline. `from_pipe` of any other
    pipeline class turns the result into that one. Raises HypernetError for files that are no SD1, SD2 or SDXL model.
    """
    import diffusers

    _refuse_older(diffusers.__version__)
    path = Path(path)
    if not path.exists():
        raise HypernetError(f"{path}: there is no such checkpoint.")
    if path.is_dir():
        return diffusers.DiffusionPipeline.from_pretrained(path, torch_dtype=dtype, local_files_only=True)
    found = inspect_checkpoint(path)
    with tempfile.TemporaryDirectory(prefix="hypernet-") as folder:
        pipeline_class = write_configs(Path(folder), found, prediction or found.prediction or "v_prediction")
        try:
            pipe = getattr(diffusers, pipeline_class).from_single_file(
                str(path), config=folder, local_files_only=True, torch_dtype=dtype
            )
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            raise HypernetError(f"{path.name}: the checkpoint doesn't fit its kind ({found.kind}): {error}") from error
    if prediction is None and found.prediction is None and predicts_noise(pipe):
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, prediction_type="epsilon")
        pipe.unet.register_to_config(sample_size=64)
    return pipe


def _refuse_older(version: str) -> None:
    """Raises HypernetError for a diffusers version that would go online for configs."""
    numbers = tuple(int(number) for number in re.findall(r"[0-9]+", version)[:2])
    if numbers < DIFFUSERS:
        needed = ".".join(map(str, DIFFUSERS))
        raise HypernetError(f"Checkpoints need diffusers {needed} or newer; this is {version}. Update diffusers.")


def write_configs(folder: Path, checkpoint: Checkpoint, prediction: str) -> str:
    """Writes a diffusers model folder without weights; returns the name of its pipeline class."""
    files: dict[str, dict[str, Any]] = json.loads((CONFIGS / f"{checkpoint.kind}.json").read_text(encoding="utf-8"))
    index, unet, scheduler = (
        files[name] for name in ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json")
    )
    if checkpoint.channels == 9:
        index["_class_name"] = index["_class_name"].replace("Pipeline", "InpaintPipeline")
    unet["in_channels"] = checkpoint.channels
    scheduler["prediction_type"] = prediction
    if checkpoint.zero_terminal_snr:
        scheduler.update(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    if checkpoint.kind == "sd2" and prediction == "epsilon":
        unet["sample_size"] = 64
    for name, content in files.items():
        target = folder / name
        if target.name == "tokenizer_config.json":
            write_tokenizer(target.parent, content.get("pad_token", END))
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content), encoding="utf-8")
    return str(index["_class_name"])


@torch.no_grad()
def predicts_noise(pipe: Any) -> bool:
    """Whether a model predicts the noise (epsilon) rather than v.

    At the last training step the input is almost pure noise, so a noise prediction equals the input. v is then about
    minus the picture, which has little in common with the input.
    """
    unet, generator = pipe.unet, torch.Generator().manual_seed(0)
    noise = torch.randn(1, unet.config.in_channels, 32, 32, generator=generator).to(unet.device, unet.dtype)
    context = torch.zeros(1, 77, unet.config.cross_attention_dim).to(noise)
    out = unet(noise, pipe.scheduler.config.num_train_timesteps - 1, context).sample
    seen = noise[:, : out.shape[1]]
    return float(torch.nn.functional.cosine_similarity(out.float().flatten(), seen.float().flatten(), dim=0)) > 0.5
