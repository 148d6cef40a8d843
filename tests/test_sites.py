"""The same sites are found in every family of UNet."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hypernet.sites import Site, find_sites
from tests.unets import TinyUNet

SD1_BLOCKS = ["IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(3, 12))]


def blocks(sites: tuple[Site, ...]) -> list[str]:
    """Names of the blocks with attention, sorted as the data runs."""
    order = {"IN": 0, "M0": 1, "OU": 2}
    return sorted({site.block for site in sites}, key=lambda block: (order[block[:2]], block))


def diffusers_unet(**kwargs: object) -> nn.Module:
    diffusers = pytest.importorskip("diffusers")
    return diffusers.UNet2DConditionModel(norm_num_groups=4, attention_head_dim=4, sample_size=8, **kwargs)


@pytest.fixture(scope="module")
def ldm_unet() -> nn.Module:
    return pytest.importorskip("ldm.modules.diffusionmodules.openaimodel").UNetModel(
        image_size=8, in_channels=4, out_channels=4, model_channels=32, attention_resolutions=[4, 2, 1],
        num_res_blocks=2, channel_mult=[1, 2, 4, 4], num_heads=4, use_spatial_transformer=True, transformer_depth=1,
        context_dim=24, legacy=False, use_checkpoint=False,
    ).eval()  # fmt: skip


def test_ldm_sd1_layout(ldm_unet: nn.Module) -> None:
    sites = find_sites(ldm_unet)
    assert len(sites) == 64
    assert blocks(sites) == SD1_BLOCKS
    assert {site.width for site in sites if site.cross} == {24}
    assert {site.width for site in sites if not site.cross} == {32, 64, 128}


def test_diffusers_sd1_layout_has_the_same_blocks() -> None:
    sites = find_sites(diffusers_unet(block_out_channels=(8, 16, 32, 32), cross_attention_dim=24))
    assert len(sites) == 64
    assert blocks(sites) == SD1_BLOCKS


def test_diffusers_sdxl_layout() -> None:
    sites = find_sites(
        diffusers_unet(
            block_out_channels=(8, 16, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            cross_attention_dim=24,
        )
    )
    assert len(sites) == 280
    assert blocks(sites) == ["IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(6))]


def test_a_site_knows_its_kind_and_its_attention() -> None:
    site = next(site for site in find_sites(TinyUNet()) if site.name.endswith("attn2.to_v"))
    assert (site.kind, site.cross, site.attention) == ("v", True, site.name.removesuffix(".to_v"))


def test_a_projection_packed_to_four_bits_has_the_width_of_the_matrix_it_stands_for() -> None:
    """bitsandbytes keeps a matrix as one long column, and some hosts' projections know no `in_features`."""
    unet = TinyUNet()
    before = {site.name: site.width for site in find_sites(unet)}
    for site in find_sites(unet):
        shape = site.module.weight.shape
        site.module.weight = nn.Parameter(torch.zeros(shape.numel() // 2, 1, dtype=torch.uint8), requires_grad=False)
        site.module.weight.quant_state = SimpleNamespace(shape=shape)
        del site.module.in_features
    assert {site.name: site.width for site in find_sites(unet)} == before


def test_every_site_is_called_once_in_a_forward(ldm_unet: nn.Module) -> None:
    called = []
    handles = [
        site.module.register_forward_pre_hook(lambda module, args, site=site: called.append((site, args[0])))
        for site in find_sites(ldm_unet)
    ]
    with torch.no_grad():
        ldm_unet(torch.randn(1, 4, 8, 8), torch.tensor([5]), context=torch.randn(1, 7, 24))
    for handle in handles:
        handle.remove()
    assert {site.name for site, _ in called} == {site.name for site in find_sites(ldm_unet)}
    assert all(x.shape[-1] == site.width and (x.shape[1] == 7) == site.cross for site, x in called if x.shape[1] != 1)


def test_other_models_have_no_sites() -> None:
    assert find_sites(nn.Sequential(nn.Linear(2, 2), nn.TransformerEncoderLayer(8, 2))) == ()


VIDEO = {"block_out_channels": (16, 32), "layers_per_block": 1, "sample_size": 8, "cross_attention_dim": 24}
DOWN, UP = ("CrossAttnDownBlock{0}", "DownBlock{0}"), ("UpBlock{0}", "CrossAttnUpBlock{0}")
VIDEO_UNETS = {
    "UNet3DConditionModel": ("3D", {"attention_head_dim": 4, "norm_num_groups": 4}),  # ModelScope, ZeroScope
    "I2VGenXLUNet": ("3D", {"num_attention_heads": 4, "norm_num_groups": 4}),
    "UNetMotionModel": ("Motion", {"motion_num_attention_heads": 4, "num_attention_heads": 4, "norm_num_groups": 4}),
    "UNetSpatioTemporalConditionModel": (
        "SpatioTemporal",
        {
            "num_attention_heads": (4, 4),
            "block_out_channels": (32, 64),
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 24,
        },
    ),
}


@pytest.mark.parametrize("name", VIDEO_UNETS)
def test_attention_over_time_is_no_site_in_a_video_unet(name: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    kind, options = VIDEO_UNETS[name]
    unet = getattr(diffusers, name)(
        down_block_types=[each.format(kind) for each in DOWN],
        up_block_types=[each.format(kind) for each in UP],
        **VIDEO | options,
    )
    spatial = [
        f"{part}.transformer_blocks.0.attn{number}"
        for part in ("down_blocks.0.attentions.0", "up_blocks.1.attentions.0", "up_blocks.1.attentions.1")
        for number in (1, 2)
    ]
    middle = [f"mid_block.attentions.0.transformer_blocks.0.attn{number}" for number in (1, 2)]
    assert {site.attention for site in find_sites(unet)} == {*spatial, *middle}


OVER_TIME = ("motion_modules", "motion_module", "temporal_attentions", "temp_attentions", "time_stack", "time_mixer")


@pytest.mark.parametrize("name", [*OVER_TIME, "transformer_in", "init_attn", "temporal_transformer_blocks"])
def test_a_part_over_time_is_known_by_its_name(name: str) -> None:
    unet = nn.Module()
    setattr(unet, name, TinyUNet())
    assert find_sites(unet) == ()


@pytest.mark.parametrize(
    "name",
    ["TemporalTransformer", "TransformerTemporalModel", "VanillaTemporalModule", "MotionModule", "MotionWrapper"],
)
def test_a_part_over_time_is_known_by_its_class_where_it_has_only_a_number(name: str) -> None:
    unet = TinyUNet()
    before = [site.name for site in find_sites(unet)]
    unet.input_blocks[1].append(type(name, (TinyUNet,), {})())
    assert [site.name for site in find_sites(unet)] == before
