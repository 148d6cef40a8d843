"""What a file is called in a tag, and which file a typed name means."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernet.library.names import Index, assign
from hypernet.library.scan import Found, Stamp
from hypernet.tags import parse

ROOT = Path("/models/hypernetworks")
OTHER_ROOT = Path("/disk/networks")


def files(*places: str, root: Path = ROOT) -> list[Found]:
    return [Found(root / place, root, place, Stamp(0, 0, 0)) for place in places]


def index(found: Sequence[Found]) -> Index:
    return Index(assign(found), [file.relative for file in found])


def find(typed: str, *places: str) -> str | None:
    """The place that the typed name means, among the given ones."""
    number = index(files(*places)).find(typed)
    return None if number is None else places[number]


def test_a_file_is_called_by_its_stem() -> None:
    assert assign(files("ink.pt", "styles/water.v2.safetensors")) == ["ink", "water.v2"]


def test_files_with_one_stem_are_called_by_their_folder() -> None:
    assert assign(files("a/ink.pt", "b/ink.pt", "water.pt")) == ["a/ink", "b/ink", "water"]


def test_stems_that_differ_only_in_capitals_count_as_one() -> None:
    assert assign(files("a/Ink.pt", "b/ink.pt")) == ["a/Ink", "b/ink"]


def test_a_file_at_the_top_keeps_its_stem_when_a_folder_has_another() -> None:
    assert assign(files("a/ink.pt", "ink.pt")) == ["a/ink", "ink"]


def test_of_one_stem_in_both_formats_safetensors_is_meant() -> None:
    assert assign(files("ink.pt", "ink.safetensors")) == ["ink.pt", "ink"]


def test_the_first_folder_wins_a_name_that_two_folders_have() -> None:
    assert assign(files("ink.pt") + files("ink.pt", root=OTHER_ROOT)) == ["ink", "networks/ink"]


def test_a_third_claim_to_a_name_is_numbered() -> None:
    roots = [Path("/1/nets"), Path("/2/nets"), Path("/3/nets")]
    assert assign([file for root in roots for file in files("ink.pt", root=root)]) == [
        "ink",
        "nets/ink",
        "nets/ink (2)",
    ]


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("a:b", "a_b"),
        ("a>b", "a_b"),
        ("a\\b", "a_b"),
        ("a::>b", "a_b"),
        ("line\nend", "line_end"),
        (" ink ", "ink"),
        ("\udcff", "_"),
        ("x\u202etp.", "x_tp."),
        ("Café, 水墨 (v=2)", "Café, 水墨 (v=2)"),
    ],
)
def test_what_a_tag_cannot_carry_is_replaced(stem: str, name: str) -> None:
    assert assign(files(f"{stem}.pt")) == [name]


def test_a_cleaned_name_does_not_take_the_name_of_another_file() -> None:
    assert assign(files("a:b.pt", "a_b.pt")) == ["hypernetworks/a_b", "a_b"]


@pytest.mark.parametrize(
    "typed",
    ["ink", "INK", "ink.pt", "Ink.PT", "ink.safetensors", "styles/ink", "Styles/INK", "styles\\ink.pt", " ink "],
)
def test_a_file_answers_to_its_stem_its_place_any_capitals_and_a_typed_suffix(typed: str) -> None:
    assert find(typed, "styles/ink.pt", "styles/water.pt") == "styles/ink.pt"


def test_an_exact_spelling_wins_over_other_capitals() -> None:
    assert find("Ink", "Ink.pt", "ink.pt") == "Ink.pt"
    assert find("ink", "Ink.pt", "ink.pt") == "ink.pt"


def test_no_file_is_meant_when_several_could_be() -> None:
    assert find("INK", "Ink.pt", "ink.pt") is None
    assert find("ink", "a/ink.pt", "b/ink.pt") is None


def test_a_typed_suffix_decides_between_two_stems() -> None:
    assert find("ink.pt", "a/ink.pt", "b/ink.safetensors") == "a/ink.pt"
    assert find("ink.pt", "ink.pt", "ink.safetensors") == "ink.pt"
    assert find("ink.safetensors", "ink.pt", "ink.safetensors") == "ink.safetensors"


def test_a_stem_that_ends_like_a_file_is_still_found() -> None:
    assert find("ink.pt", "ink.pt.pt", "water.pt") == "ink.pt.pt"


def test_an_accent_is_one_letter_however_it_is_stored() -> None:
    decomposed, composed = "cafe\u0301.pt", "caf\u00e9"
    assert find(composed, decomposed) == decomposed
    assert assign(files(decomposed)) == [composed]


@pytest.mark.parametrize(
    "typed", ["", " ", "/", ".", "..", "../ink", "/etc/ink", "other/ink", "C:\\ink", "ink/", ".pt"]
)
def test_a_path_is_not_a_name(typed: str) -> None:
    assert find(typed, "styles/ink.pt") is None


@pytest.mark.parametrize("typed", ["furry_ kemono", "Furry Kemono", "furrykemono.pt", "styles/furry kemono"])
def test_spaces_and_underscores_may_be_mixed_up_where_only_one_file_can_be_meant(typed: str) -> None:
    assert find(typed, "styles/furry_kemono.pt", "ink.pt") == "styles/furry_kemono.pt"
    assert find("furry_ kemono", "furry_kemono.pt", "a/furry kemono.pt") is None


def test_a_name_with_a_colon_is_found_as_typed_and_as_listed() -> None:
    assert assign(files("a:b.pt")) == ["a_b"]
    assert find("a:b", "a:b.pt") == find("a_b", "a:b.pt") == "a:b.pt"


def test_an_unclear_name_suggests_all_that_it_could_mean() -> None:
    assert index(files("a/ink.pt", "b/ink.pt", "water.pt")).suggest("ink") == ["a/ink", "b/ink"]


@pytest.mark.parametrize("typed", ["watr", "WATER2", "wat", "styles/water.pt"])
def test_a_slip_suggests_the_name_that_was_meant(typed: str) -> None:
    assert index(files("water.pt", "ink.pt")).suggest(typed) == ["water"]


def test_a_name_like_no_other_suggests_nothing() -> None:
    assert index(files("water.pt")).suggest("zzz") == []
    assert index(files("water.pt")).suggest("") == []


PART = st.text(st.sampled_from("aAbéE\u0301:<> .\n1_水"), min_size=1, max_size=5).filter(lambda part: part[0] != ".")
PLACE = st.builds(
    lambda folders, stem, suffix: "/".join([*folders, stem]) + suffix,
    st.lists(PART, max_size=2),
    PART,
    st.sampled_from([".pt", ".safetensors", ".PT", ".pt.pt"]),
)
FILES = st.lists(st.tuples(st.sampled_from([ROOT, OTHER_ROOT]), PLACE), max_size=6, unique=True).map(
    lambda pairs: [Found(root / place, root, place, Stamp(0, 0, 0)) for root, place in pairs]
)


@given(FILES)
def test_no_two_files_share_a_name(found: list[Found]) -> None:
    names = assign(found)
    assert len(set(names)) == len(names) == len(found)


@given(FILES)
def test_every_file_is_found_by_its_name(found: list[Found]) -> None:
    names = assign(found)
    assert [Index(names, [file.relative for file in found]).find(name) for name in names] == list(range(len(found)))


@given(FILES)
def test_a_tag_carries_every_name(found: list[Found]) -> None:
    for name in assign(found):
        (tag,) = parse(f"<hypernet:{name}:0.7>").tags
        assert tag.name == name


def spellings(file: Found, name: str) -> set[str]:
    """Every name that finds the file."""
    place = unicodedata.normalize("NFC", file.relative)
    bare = re.sub(r"\.(pt|safetensors)$", "", place, flags=re.IGNORECASE)
    return {name, place, bare, place.rpartition("/")[2], bare.rpartition("/")[2]}


@st.composite
def files_and_typed(draw: st.DrawFn) -> tuple[list[Found], str]:
    """Files, and what one of them answers to, perhaps with other capitals; or anything."""
    found = draw(FILES.filter(bool))
    number = draw(st.integers(0, len(found) - 1))
    typed = draw(st.sampled_from(sorted(spellings(found[number], assign(found)[number]))) | st.text(max_size=9))
    return found, draw(st.sampled_from([typed, typed.swapcase()])).strip()


@given(files_and_typed())
def test_the_file_that_is_meant_answers_to_what_was_typed(case: tuple[list[Found], str]) -> None:
    found, typed = case
    meant = index(found).find(typed)
    if meant is not None:
        answers = {spelling.casefold() for spelling in spellings(found[meant], assign(found)[meant])}
        bare = re.sub(r"\.(pt|safetensors)$", "", typed, flags=re.IGNORECASE)
        loose = {squeezed(answer) for answer in answers}
        assert typed.casefold() in answers or bare.casefold() in answers or squeezed(bare) in loose


def squeezed(name: str) -> str:
    """A name without spaces and underscores."""
    return re.sub(r"[\s_]|\.(pt|safetensors)$", "", name.casefold())


@given(files_and_typed())
def test_other_capitals_never_win_over_an_exact_spelling(case: tuple[list[Found], str]) -> None:
    found, typed = case
    exact = [n for n, name in enumerate(assign(found)) if typed in spellings(found[n], name)]
    meant = index(found).find(typed)
    assert meant is None or not exact or meant in exact


@given(FILES, st.text(max_size=12))
def test_suggestions_are_names(found: list[Found], typed: str) -> None:
    assert set(index(found).suggest(typed)) <= set(assign(found))
