"""Tags + library + sites -> plan: which nets run where, at which strength, with notes for the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hypernet.blocks import block_factors
from hypernet.errors import NO_EFFECT, HypernetError
from hypernet.network import TEXT_WIDTHS, Net, Network
from hypernet.schedule import Course
from hypernet.sites import Site
from hypernet.tags import MAX_TAGS, Tag


@dataclass(frozen=True)
class Use:
    """A tag whose network was found and read."""

    tag: Tag
    network: Network


@dataclass(frozen=True)
class Application:
    """One net at one site."""

    net: Net
    course: Course
    factor: float
    """The product of k=, v=, self=, cross= and lbw= at this site."""
    on: str
    """'both', 'cond' or 'uncond'."""


@dataclass(frozen=True)
class Plan:
    """For each site that changes, its nets in the order of the prompt."""

    sites: Mapping[Site, tuple[Application, ...]]
    applied: tuple[Use, ...] = ()
    """The uses that act at some site."""
    notes: tuple[str, ...] = ()
    """One sentence for each thing that did not work."""


def open_tags(tags: Iterable[Tag], load: Callable[[str], Network]) -> tuple[tuple[Use, ...], tuple[str, ...]]:
    """Reads each tag's network. Returns the networks in order, and a note for everything that is left out."""
    uses: list[Use] = []
    notes: dict[str, None] = {}
    tags = tuple(tags)
    if len(tags) > MAX_TAGS:
        notes[f"There are {len(tags):,} hypernetwork tags: only the first {MAX_TAGS} count."] = None
    for tag in tags[:MAX_TAGS]:
        try:
            uses.append(Use(tag, load(tag.name)))
            notes.update(dict.fromkeys(tag.notes))
        except HypernetError as error:
            notes[str(error)] = None
    return tuple(uses), tuple(notes)


def make_plan(uses: Sequence[Use], sites: Sequence[Site]) -> Plan:
    """Assigns the networks to the sites of one UNet. A tag that acts nowhere is not applied, but noted."""
    if uses and not sites:
        return Plan({}, (), (NO_EFFECT,))
    blocks = tuple(dict.fromkeys(site.block for site in sites if site.block))
    found: dict[Site, list[Application]] = {}
    applied: list[Use] = []
    notes: dict[str, None] = {}
    for use in uses:
        try:
            _check_base(use, sites)
            factors = block_factors(use.tag.blocks, blocks) if use.tag.blocks is not None else {}
        except HypernetError as error:
            notes[f"{use.tag.name}: {error} It was left out."] = None
            continue
        here = {site: application for site in sites if (application := _application(use, site, factors))}
        if not here:
            notes[f"{use.tag.text}: this tag does nothing, as its strength is 0 everywhere."] = None
            continue
        applied.append(use)
        for site, application in here.items():
            found.setdefault(site, []).append(application)
    return Plan({site: tuple(nets) for site, nets in found.items()}, tuple(applied), tuple(notes))


def _application(use: Use, site: Site, factors: Mapping[str, float]) -> Application | None:
    tag, pair = use.tag, use.network.pairs.get(site.width)
    if pair is None or tag.course.is_zero:
        return None
    factor = factors.get(site.block, 1.0)
    factor *= tag.cross_attention if site.cross else tag.self_attention
    factor *= tag.k if site.kind == "k" else tag.v
    net = pair.k if site.kind == "k" else pair.v
    return Application(net, tag.course, factor, tag.on) if factor else None


def _check_base(use: Use, sites: Sequence[Site]) -> None:
    """Raises HypernetError for a network of another base model: the half of it that fits would spoil the picture."""
    widths = {site.width for site in sites}
    text = {site.width for site in sites if site.cross}
    trained = set(use.network.pairs) & set(TEXT_WIDTHS)
    if trained and not trained & text:
        made_for = " or ".join(TEXT_WIDTHS[width] for width in sorted(trained))
        here = " and ".join(TEXT_WIDTHS.get(width, f"a text width of {width}") for width in sorted(text))
        raise HypernetError(f"it was made for {made_for}, and this model is {here or 'another kind'}.")
    if not widths & set(use.network.pairs):
        has = ", ".join(map(str, use.network.widths))
        raise HypernetError(f"it has widths {has}, and this model uses {', '.join(map(str, sorted(widths)))}.")
