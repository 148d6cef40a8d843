"""The names that LoRA files give a UNet's layers: those of kohya-ss/sd-scripts, which every program reads.

For SD1 and SD2 they are diffusers' (`lora_unet_down_blocks_0_attentions_0_...`), for SDXL Stability's own
(`lora_unet_input_blocks_4_1_...`), whatever the checkpoint calls them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hypernet.convert.model import UNet
from hypernet.sites import Site

PREFIX = "lora_unet_"
"""What every name of a UNet layer begins with."""
_LEVEL_END = re.compile(r"input_blocks\.(\d+)\.0\.op\.")
_RESNET = re.compile(r"down_blocks\.0\.resnets\.(\d+)\.")


@dataclass(frozen=True)
class Layers:
    """How a UNet's blocks are counted. per_level: blocks of one level and its downsampler, in `input_blocks`."""

    per_level: int
    stability: bool
    """Whether its LoRA files use Stability's names, as SDXL's do. SDXL is known by several transformers in a row."""

    @classmethod
    def of(cls, unet: UNet) -> Layers:
        """From the names of its tensors."""
        names = [name for file in unet.files for name in file.entries]
        ends = [int(match[1]) for name in names if (match := _LEVEL_END.search(name))]
        resnets = [int(match[1]) for name in names if (match := _RESNET.search(name))]
        per_level = min(ends) if ends else max(resnets) + 2 if resnets else 3
        return cls(per_level, any(".transformer_blocks.1." in site.name for site in unet.sites))

    def attention(self, site: Site) -> str:
        """The name of a site's attention layer, `lora_unet_..._attn1`."""
        return self._named(site, self.stability)

    def every_name(self, sites: Iterable[Site]) -> Mapping[str, str]:
        """Each name an attention layer may have in a file, in either naming -> its path in this UNet."""
        return {self._named(site, naming): site.attention for site in sites for naming in (True, False)}

    def _named(self, site: Site, stability: bool) -> str:
        _, _, inner = site.attention.rpartition("transformer_blocks.")
        block = self._stability(site.block) if stability else self._diffusers(site.block)
        return f"{PREFIX}{block}_transformer_blocks_{inner.replace('.', '_')}"

    def _diffusers(self, block: str) -> str:
        if block == "M00":
            return "mid_block_attentions_0"
        down, number = block.startswith("IN"), int(re.sub(r"\D", "", block))
        level, layer = divmod(number - 1 if down else number, self.per_level)
        return f"{'down' if down else 'up'}_blocks_{level}_attentions_{layer}"

    def _stability(self, block: str) -> str:
        if block == "M00":
            return "middle_block_1"
        number = int(re.sub(r"\D", "", block))
        return f"{'input' if block.startswith('IN') else 'output'}_blocks_{number}_1"
