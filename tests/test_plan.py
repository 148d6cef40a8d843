"""From tags to what runs at each site, and the notes about what can't run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hypernet.blocks import block_factors
from hypernet.errors import HypernetError
from hypernet.network import Linear, Net, Network, Pair
from hypernet.plan import Plan, make_plan, open_tags
from hypernet.sites import find_sites
from hypernet.tags import parse
from tests.unets import TEXT, TinyUNet, network

SD1 = ("IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(3, 12)))
SDXL = ("IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(6)))


def plan(prompt: str, networks: dict[str, Network], unet: nn.Module | None = None) -> Plan:
    uses, notes = open_tags(parse(prompt).tags, networks.__getitem__)
    assert not notes
    return make_plan(uses, find_sites(TinyUNet() if unet is None else unet))


def stub(*widths: int) -> Network:
    """A network whose weights are never looked at."""
    net = {width: Net(width, (Linear(torch.empty(0), None),)) for width in widths}
    return Network({width: Pair(net[width], net[width]) for width in widths})


def test_a_site_gets_the_net_of_its_width_and_kind() -> None:
    only = network(widths=[TEXT])
    found = plan("<hypernet:only:0.5>", {"only": only})
    assert found.sites and all(site.cross and site.width == TEXT for site in found.sites)
    for site, (application,) in found.sites.items():
        assert application.net is (only.pairs[TEXT].k if site.kind == "k" else only.pairs[TEXT].v)


def test_a_factor_of_zero_leaves_the_site_alone() -> None:
    assert all(site.cross for site in plan("<hypernet:n:1:self=0>", {"n": network()}).sites)


@pytest.mark.parametrize(
    "options",
    ["0", "-0.0", "0@0,0@1", "0:hr=0", "1:lbw=NONE", "1:k=0:v=0", "0.7:self=0:cross=0", "1:lbw=1,0,0,0,0,0,0,0,0"],
)
def test_a_tag_that_acts_nowhere_is_noted_and_not_applied(options: str) -> None:
    found = plan(f"<hypernet:n:{options}> <hypernet:n:0.5>", {"n": network()})
    assert [use.tag.text for use in found.applied] == ["<hypernet:n:0.5>"]
    assert found.notes == (f"<hypernet:n:{options}>: this tag does nothing, as its strength is 0 everywhere.",)


@pytest.mark.parametrize("options", ["0:hr=1", "0@0,1@1", "1:k=0", "1:self=0", "1:lbw=INS"])
def test_a_tag_that_acts_somewhere_at_some_time_is_applied(options: str) -> None:
    found = plan(f"<hypernet:n:{options}>", {"n": network()})
    assert len(found.applied) == 1 and not found.notes


def test_a_missing_file_is_one_note_and_the_others_work() -> None:
    def load(name: str) -> Network:
        if name == "gone":
            raise HypernetError("there is no hypernetwork “gone”.")
        return network()

    uses, notes = open_tags(parse("<hypernet:gone> <hypernet:n> <hypernet:gone:0.5>").tags, load)
    assert [use.tag.name for use in uses] == ["n"]
    assert notes == ("there is no hypernetwork “gone”.",)


class Cross(nn.Module):
    """One self- and one cross-attention of the given widths."""

    def __init__(self, width: int, text: int) -> None:
        super().__init__()
        for name, context in (("attn1", width), ("attn2", text)):
            attention = nn.Module()
            attention.to_q = nn.Linear(width, width)
            attention.to_k, attention.to_v = nn.Linear(context, width), nn.Linear(context, width)
            setattr(self, name, attention)


@pytest.mark.parametrize(
    ("widths", "text", "said"),
    [
        ((768, 320, 640, 1280), 1024, "made for SD1, and this model is SD2"),
        ((768, 320, 640, 1280), 2048, "made for SD1, and this model is SDXL"),
        ((2048, 640, 1280), 768, "made for SDXL, and this model is SD1"),
        ((768, 320), 1280, "made for SD1, and this model is a text width of 1280"),
    ],
)
def test_a_network_of_another_base_model_is_left_out_whole(widths: tuple[int, ...], text: int, said: str) -> None:
    found = plan("<hypernet:n>", {"n": stub(*widths)}, Cross(320, text))
    assert not found.sites and not found.applied
    assert said in found.notes[0]


@pytest.mark.parametrize(("widths", "text"), [((320, 640), 2048), ((768, 1024), 1024), ((768,), 768)])
def test_a_network_that_fits_is_used_without_a_word(widths: tuple[int, ...], text: int) -> None:
    found = plan("<hypernet:n>", {"n": stub(*widths)}, Cross(320, text))
    assert found.sites and not found.notes


def test_a_network_without_any_width_of_the_model_says_so() -> None:
    found = plan("<hypernet:n>", {"n": network(widths=[40])})
    assert not found.sites
    assert "widths 40" in found.notes[0]


def test_a_model_without_sites_says_so_once() -> None:
    found = plan("<hypernet:n> <hypernet:n>", {"n": network()}, nn.Linear(2, 2))
    assert len(found.notes) == 1 and "no effect" in found.notes[0]


def test_a_bad_preset_leaves_only_its_tag_out() -> None:
    found = plan("<hypernet:n:1:lbw=INTO> <hypernet:n:0.5>", {"n": network()})
    assert [use.tag.text for use in found.applied] == ["<hypernet:n:0.5>"]
    assert "INTO" in found.notes[0] and "OUTALL" in found.notes[0]


def on(blocks: tuple[str, ...], weights: str) -> list[str]:
    return [block for block, factor in block_factors(weights, blocks).items() if factor]


@pytest.mark.parametrize(
    ("preset", "sd1", "sdxl"),
    [
        ("ALL", list(SD1), list(SDXL)),
        ("NONE", [], []),
        ("INS", ["IN01", "IN02", "IN04"], ["IN04", "IN05"]),
        ("IND", ["IN05", "IN07", "IN08"], ["IN07", "IN08"]),
        ("INALL", list(SD1[:6]), list(SDXL[:4])),
        ("MIDD", list(SD1[3:11]), list(SDXL[2:8])),
        ("OUTD", list(SD1[7:11]), list(SDXL[5:8])),
        ("OUTS", list(SD1[11:]), list(SDXL[8:])),
        ("OUTALL", list(SD1[7:]), list(SDXL[5:])),
    ],
)
def test_presets_name_the_blocks_they_name_for_loras(preset: str, sd1: list[str], sdxl: list[str]) -> None:
    assert on(SD1, preset) == sd1
    assert on(SDXL, preset) == sdxl


@pytest.mark.parametrize("blocks", [SD1, SDXL, ("IN01", "M00", "OUT00")])
def test_numbers_go_to_the_blocks_in_order_after_base(blocks: tuple[str, ...]) -> None:
    weights = tuple(float(number) for number in range(len(blocks) + 1))
    assert list(block_factors(weights, blocks).values()) == list(weights[1:])


@pytest.mark.parametrize(("count", "blocks", "first"), [(26, SD1, "IN00"), (20, SDXL, "IN00"), (12, SD1, "IN04")])
def test_the_other_known_lengths_count_by_block_name(count: int, blocks: tuple[str, ...], first: str) -> None:
    factors = block_factors(tuple(float(number) for number in range(count)), blocks)
    starts_at = {"IN00": 1, "IN04": 1}[first]
    assert factors["IN04"] == (starts_at + 4 if first == "IN00" else starts_at)


def test_a_list_of_no_known_length_says_what_the_model_takes() -> None:
    with pytest.raises(HypernetError, match="takes 17: BASE, IN01"):
        block_factors((1.0, 2.0), SD1)
