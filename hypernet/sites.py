"""A UNet -> its sites: every `to_k` and `to_v` that a hypernetwork can act in front of.

Found by shape and name, so that one list serves ldm and sgm (A1111), Forge's backend, ldm_patched and diffusers.
Blocks have the names of sd-webui-lora-block-weight: IN00.., M00, OUT00..
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from torch import nn

_LDM_BLOCK = re.compile(r"(?:^|\.)(input_blocks|middle_block|output_blocks)\.(\d+)\.")
_DIFFUSERS_BLOCK = re.compile(r"(?:^|\.)(down_blocks|up_blocks)\.(\d+)\.attentions\.(\d+)\.")
_DIFFUSERS_MIDDLE = re.compile(r"(?:^|\.)mid_block\.")
_OVER_TIME = re.compile(r"motion_module|tempo|temp_|time_stack|time_mix|transformer_in$|init_attn$")
"""Names of parts whose attention runs over the frames of a video: diffusers', sgm's, lvdm's, ModelScope's."""
_OVER_TIME_CLASS = re.compile(r"(?:Transformer|Vanilla)?Temporal|AnimateDiff|Motion(?!Model$)")
"""The same by class name, for parts that are only numbered within their block."""


@dataclass(frozen=True, eq=False)
class Site:
    """One `to_k` or `to_v` projection."""

    name: str
    """Dotted path from the UNet, unique."""
    module: nn.Module
    kind: str
    """'k' or 'v'."""
    cross: bool
    """Whether its input is the text context, rather than the picture."""
    width: int
    """Channels of its input."""
    block: str
    """IN00.., M00, OUT00.. or '' where the UNet has other parts than Stable Diffusion's."""
    attention: str
    """Dotted path of its attention layer, which has one site for K and one for V."""


def find_sites(unet: nn.Module) -> tuple[Site, ...]:
    """All sites of a UNet in the order the UNet lists them; empty for models without K and V projections.

    Attention over time, from one frame of a video to the next, has no sites: no hypernetwork was trained for it.
    """
    return tuple(_sites(unet))


def _sites(unet: nn.Module) -> Iterator[Site]:
    over_time: tuple[str, ...] = ()
    for path, attention in unet.named_modules():
        name = path.rpartition(".")[2]
        if path and (_OVER_TIME.search(name) or _OVER_TIME_CLASS.match(type(attention).__name__)):
            over_time = (*over_time, path + ".")
        if name not in ("attn1", "attn2") or path.startswith(over_time):
            continue
        to_q, to_k, to_v = (getattr(attention, part, None) for part in ("to_q", "to_k", "to_v"))
        if not (isinstance(to_q, nn.Module) and isinstance(to_k, nn.Module) and isinstance(to_v, nn.Module)):
            continue
        cross = name == "attn2" or _width(to_k) != _width(to_q)
        for kind, module in (("k", to_k), ("v", to_v)):
            yield Site(f"{path}.to_{kind}", module, kind, cross, _width(module), _block(unet, path + "."), path)


def _width(projection: nn.Module) -> int:
    width = getattr(projection, "in_features", None)
    if width is None:  # a projection of a host's own class
        weight = cast(nn.Linear, projection).weight
        packed = getattr(weight, "quant_state", None)  # of bitsandbytes, whose packed weight is one long column
        width = (weight if packed is None else packed).shape[1]
    return int(width)


def _block(unet: nn.Module, path: str) -> str:
    if match := _LDM_BLOCK.search(path):
        part, index = match.group(1), int(match.group(2))
        return {"input_blocks": f"IN{index:02}", "output_blocks": f"OUT{index:02}"}.get(part, "M00")
    if match := _DIFFUSERS_BLOCK.search(path):
        part, level, index = match.group(1), int(match.group(2)), int(match.group(3))
        earlier = list(getattr(unet, part))[:level]
        if part == "down_blocks":  # IN00 is conv_in, and each level ends with a downsampler of its own number
            return f"IN{1 + sum(len(block.resnets) + 1 for block in earlier) + index:02}"
        return f"OUT{sum(len(block.resnets) for block in earlier) + index:02}"
    return "M00" if _DIFFUSERS_MIDDLE.search(path) else ""


def fused(unet: nn.Module) -> bool:
    """Whether diffusers has fused this UNet's K and V projections into one, so that no site is ever called."""
    return any(getattr(module, "fused_projections", False) for module in unet.modules())
