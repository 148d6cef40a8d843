"""What else people drop into the hypernetwork folder, and where it belongs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hypernet.files.errors import AGAIN, ASK_ITS_MAKER, HALF_LOADED, MALICIOUS, FormatError

_FIRST_BYTES: tuple[tuple[bytes, str, str], ...] = (
    (
        rb"version https://git-lfs",
        "it is a git-lfs pointer, not the file itself.",
        "Run `git lfs pull`, or download it.",
    ),
    (rb"\s*<(!doctype|html|head|\?xml|!--)", "it is a web page, not a model.", "Log in where it is, then download it."),
    (rb"PK\x05\x06", "it is an empty zip archive.", AGAIN),
    (rb"Rar!", "it is a RAR archive.", "Unpack it and use the .pt or .safetensors file inside."),
    (rb"7z\xbc\xaf", "it is a 7-Zip archive.", "Unpack it and use the .pt or .safetensors file inside."),
    (rb"\x1f\x8b", "it is a gzip archive.", "Unpack it and use the .pt or .safetensors file inside."),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", "it is a picture.", "Download the model that belongs to it."),
    (rb"GGUF", "it is a GGUF model.", "Hypernetworks are .pt or .safetensors files."),
    (rb"\x89HDF", "it is an HDF5 (Keras) model.", "Hypernetworks are .pt or .safetensors files."),
    (rb"\s*\{", "it is text (JSON), perhaps an error message from a download.", "Download the file again."),
    (rb".{257}ustar", "it is a tar archive, as PyTorch wrote before 2017.", "Save it again with a newer PyTorch."),
    (rb"\x00{64}", "it holds only zeros: its download did not finish.", HALF_LOADED),
)

_NAMES: tuple[tuple[str, str, str], ...] = (
    (r"lora_(unet|te\d?|transformer)_|\.lora_(down|up|A|B|a|b)\b|hada_w1|lokr_w1", "a LoRA", "put it into models/Lora"),
    (r"string_to_(param|token)|emb_params$|^clip_[lg]$", "an embedding", "put it into the embeddings folder"),
    (r"control_model\.|controlnet_|input_hint_block|^lllite_", "a ControlNet", "put it into models/ControlNet"),
    (r"model\.diffusion_model\.|double_blocks\.", "a checkpoint", "put it into models/Stable-diffusion"),
    (r"(de|en)coder\.(conv_in|down\.|up\.|mid\.|down_blocks|up_blocks)", "a VAE", "put it into models/VAE"),
    (r"^state_dict$", "a checkpoint", "put it into models/Stable-diffusion"),
    (r"^(down|up|mid)_blocks?\.", "a diffusers UNet", "use the whole checkpoint instead"),
    (r"^(ip_adapter|image_proj)\b", "an IP-Adapter", "put it into models/ControlNet"),
    (r"text_model\.|^transformer\.resblocks", "a text encoder", "put it into models/text_encoder"),
    (r"^params(_ema)?$|RRDB_trunk|^body\.0\.|^conv_first\.", "an upscaler", "put it into models/ESRGAN"),
    (r"^optimizer_(state_dict|name)$", "", ""),
)


def by_first_bytes(head: bytes) -> FormatError | None:
    """What a file is that begins so (512 bytes suffice), when it is a well-known kind of something else."""
    for pattern, problem, advice in _FIRST_BYTES:
        if re.match(pattern, head, re.IGNORECASE | re.DOTALL):
            return FormatError(problem, advice)
    return None


def by_names(names: Iterable[str]) -> FormatError | None:
    """What a file is whose tensors or top-level keys have these names, when it is a well-known other kind of model."""
    lines = "\n".join(name[:100] for name in names)
    for pattern, kind, advice in _NAMES:
        if re.search(pattern, lines, re.MULTILINE):
            return _sent_away(kind, advice)
    return None


def instead_of(error: FormatError, data: bytes) -> FormatError:
    """What to say of a pickle that was error: what else it is, from the names that stand in it.

    One that calls what no model needs stays refused as malicious: nobody should try it elsewhere.
    """
    if error.advice == MALICIOUS:
        return error
    return by_names(re.findall(r"[\w.]{5,}", data.decode("latin-1"), re.ASCII)) or error


def _sent_away(kind: str, advice: str) -> FormatError:
    if not kind:
        return FormatError(
            "it holds the optimizer of a training (.optim), not a network.",
            "Choose the .pt file of the same name; keep this one beside it to go on with the training.",
        )
    return FormatError(f"it is {kind}, not a hypernetwork.", f"{advice[0].upper()}{advice[1:]}.")


def unknown() -> FormatError:
    """What to say of a file that begins like nothing known."""
    return FormatError("it is neither a PyTorch file (.pt) nor a .safetensors file.", ASK_ITS_MAKER)
