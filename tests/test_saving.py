"""What `save` writes is whole, loads unchanged, and is accepted by the programs it is meant for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections import OrderedDict
from inspect import signature
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

import hypernet
from hypernet import HypernetError
from hypernet.files import peek
from hypernet.files.metadata import A1111_KEYS
from hypernet.network import Activation, LayerNorm, Linear, Metadata, Net, Network, Pair, Residual
from tests.make_files import GENERATIONS, WIDTHS, Raw, raw, states, write
from tests.make_files import sequence as modules

X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(8))


def same(a: Raw, b: Raw) -> None:
    """Compares two contents of a `.pt`: keys, order, types, bits."""
    assert list(a) == list(b)
    for key in a:
        if not isinstance(key, int):
            assert (a[key], type(a[key])) == (b[key], type(b[key]))
            continue
        for one, other in zip(a[key], b[key], strict=True):
            assert set(one) == set(other)
            for name in one:
                assert one[name].dtype == other[name].dtype
                assert torch.equal(one[name], other[name])


def expected(content: Raw) -> Raw:
    """What is left of a content: all but the optimizer; widths as numbers."""
    kept = {key: value for key, value in content.items() if key != "optimizer_state_dict"}
    return {int(key) if str(key).isdigit() else key: value for key, value in kept.items()}


@pytest.mark.parametrize("way", [".pt", ".safetensors"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_nothing_is_lost_on_the_way_there_and_back(tmp_path: Path, generation: str, way: str) -> None:
    content = GENERATIONS[generation]()
    hypernet.save(hypernet.load(write(tmp_path / "first.pt", content)), tmp_path / f"between{way}")
    hypernet.save(hypernet.load(tmp_path / f"between{way}"), tmp_path / "last.pt")
    same(torch.load(tmp_path / "last.pt", weights_only=True), expected(content))


@pytest.mark.parametrize("way", [".pt", ".safetensors"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_saved_network_computes_the_same(tmp_path: Path, generation: str, way: str) -> None:
    network = hypernet.load(write(tmp_path / "first.pt", GENERATIONS[generation]()))
    hypernet.save(network, tmp_path / f"second{way}")
    again = hypernet.load(tmp_path / f"second{way}")
    assert all(torch.equal(a, b) for a, b in zip(network(X), again(X), strict=True))


texts = st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
numbers = st.integers(0, 2**53) | st.floats(0, 8, width=32)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Metadata,
        name=texts,
        step=st.none() | st.integers(0, 2**60),
        layer_structure=st.none() | st.lists(numbers, max_size=5).map(tuple),
        activation_func=st.sampled_from([None, "linear", "relu"]),
        activate_output=st.booleans(),
        sd_checkpoint=texts,
        optional_info=texts,
        use_dropout=st.booleans(),
        extra=st.dictionaries(
            st.sampled_from(["a", "b c"]), texts | numbers | st.booleans() | st.lists(texts, max_size=3)
        ),
    ),
    st.sampled_from([".pt", ".safetensors"]),
)
def test_metadata_of_any_kind_comes_back(
    tmp_path_factory: pytest.TempPathFactory, metadata: Metadata, way: str
) -> None:
    active = metadata.activation_func == "relu" and metadata.activate_output
    net = Net(8, (Linear(torch.eye(8), None), *([Activation("relu")] if active else [])))
    path = tmp_path_factory.mktemp("metadata") / f"file{way}"
    hypernet.save(Network({8: Pair(net, net)}, metadata), path)
    found = hypernet.load(path).metadata
    assert found.keys == (*(key for key in A1111_KEYS if getattr(metadata, key) is not None), *metadata.extra)
    assert found == Metadata(**{**vars(metadata), "keys": found.keys})


def test_a_network_made_in_code_gets_the_names_that_a1111_gives(tmp_path: Path) -> None:
    options = {"layer_norm": True, "activate_output": False, "dropout": (0, 0.2, 0.3, 0)}
    reference = modules(8, (1, 2, 2, 1), "relu", **options)
    layers: list[Linear | LayerNorm | Activation] = []
    for module in reference:
        if isinstance(module, torch.nn.Linear):
            layers.append(Linear(module.weight, module.bias))
        elif isinstance(module, torch.nn.LayerNorm):
            layers.append(LayerNorm(module.weight, module.bias))
        elif isinstance(module, torch.nn.ReLU):
            layers.append(Activation("relu"))
    metadata = Metadata(activation_func="relu", activate_output=False, dropout_structure=(0, 0.2, 0.3, 0))
    net = Net(8, tuple(layers))
    hypernet.save(Network({8: Pair(net, net)}, metadata), tmp_path / "file.pt")
    k = torch.load(tmp_path / "file.pt", weights_only=True)[8][0]
    assert list(k) == list(states(reference))


def test_facts_set_after_loading_are_saved_too(tmp_path: Path) -> None:
    network = hypernet.load(write(tmp_path / "first.pt", GENERATIONS["NovelAI"]()))
    renamed = Network(network.pairs, Metadata(**{**vars(network.metadata), "name": "ink"}))
    hypernet.save(renamed, tmp_path / "second.pt")
    assert torch.load(tmp_path / "second.pt", weights_only=True)["name"] == "ink"


@pytest.mark.parametrize("way", [".pt", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_weights_are_saved_in_the_type_asked_for(tmp_path: Path, dtype: torch.dtype, way: str) -> None:
    network = hypernet.load(write(tmp_path / "first.pt", raw()))
    hypernet.save(network, tmp_path / f"second{way}", dtype=dtype)
    assert peek(tmp_path / f"second{way}").dtype == str(dtype).removeprefix("torch.")


def test_weights_too_large_for_the_type_are_not_saved(tmp_path: Path) -> None:
    net = Net(8, (Linear(torch.full((8, 8), 1e6), None),))
    with pytest.raises(HypernetError, match="not finite"):
        hypernet.save(Network({8: Pair(net, net)}), tmp_path / "file.pt", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(extra={f"part {i}": "ink " * 16_000 for i in range(20)}),
        Metadata(extra={"number": 1 << 200}),
        Metadata(name="x" * 70_000),
        Metadata(name="\x1b[2J"),
    ],
    ids=["a megabyte", "a long number", "a long text", "a control character"],
)
def test_metadata_that_no_reader_would_take_are_not_saved(tmp_path: Path, metadata: Metadata, way: str) -> None:
    net = Net(8, (Linear(torch.eye(8), None),))
    with pytest.raises(HypernetError):
        hypernet.save(Network({8: Pair(net, net)}, metadata), tmp_path / f"file{way}")
    assert not list(tmp_path.iterdir())


EYE = torch.eye(8)
RELU = (Linear(EYE, None), Activation("relu"), Linear(EYE, None))
CONTRADICTIONS: dict[str, tuple[Net, Metadata]] = {
    "another activation": (Net(8, RELU), Metadata(activation_func="tanh", activate_output=False)),
    "an activation that nobody knows": (Net(8, RELU), Metadata(activation_func="os.system", activate_output=False)),
    "an activation at the end that is not there": (Net(8, RELU), Metadata(activation_func="relu")),
    "an activation that is not there": (Net(8, RELU[:1]), Metadata(activation_func="relu")),
    "names in another order": (
        Net(8, (*RELU[:1], *RELU[:1]), ("linear.1.weight", "linear.0.weight")),
        Metadata(),
    ),
    "a name with a terminal escape": (Net(8, RELU[:1], ("linear.0.weight\x1b[2J",)), Metadata()),
    "a name with markup": (Net(8, RELU[:1], ("<script>",)), Metadata()),
    "a key with a terminal escape": (Net(8, RELU[:1]), Metadata(extra={"\x1b[2J": 1})),
    "a text with a terminal escape in a list": (Net(8, RELU[:1]), Metadata(extra={"a": [{"b": "\x9b2J"}]})),
    "an object in the metadata": (Net(8, RELU[:1]), Metadata(extra={"a": Path()})),
    "bytes in the metadata": (Net(8, RELU[:1]), Metadata(extra={"a": b"x"})),
    "a key without a value": (Net(8, RELU[:1]), Metadata(keys=("name", "a"))),
    "another width inside": (Net(8, (Linear(torch.ones(4, 8), None),)), Metadata()),
    "no layers": (Net(8, ()), Metadata()),
    "half a layer norm": (Net(8, (Linear(EYE, None), LayerNorm(torch.ones(4), torch.ones(4)))), Metadata()),
}


NORMED = (Linear(EYE, None), Activation("elu"), LayerNorm(torch.ones(8), torch.zeros(8)))
IN_CODE: dict[str, tuple[Net, Metadata]] = {
    "an activation inside": (Net(8, RELU), Metadata(name="ink", step=5)),
    "an activation inside and said not to be at the end": (Net(8, RELU), Metadata(activate_output=False)),
    "an activation at the end": (Net(8, RELU[:2]), Metadata()),
    "layer norm": (Net(8, (*NORMED, Linear(EYE, None))), Metadata()),
    "PReLU": (Net(8, (Linear(EYE, None), Activation("prelu", torch.ones(1)), Linear(EYE, None))), Metadata()),
    "a residual block": (Net(8, (Residual((*RELU[:2],), 8),)), Metadata()),
}


@pytest.mark.parametrize("way", [".pt", ".safetensors"])
@pytest.mark.parametrize("what", IN_CODE)
def test_a_network_made_in_code_needs_no_metadata_to_come_back(tmp_path: Path, what: str, way: str) -> None:
    net, metadata = IN_CODE[what]
    network = Network({8: Pair(net, net)}, metadata)
    hypernet.save(network, tmp_path / f"file{way}")
    again = hypernet.load(tmp_path / f"file{way}")
    assert again.metadata.name == metadata.name
    assert all(torch.equal(a, b) for a, b in zip(network(X), again(X), strict=True))


def test_a_network_made_in_code_has_one_activation(tmp_path: Path) -> None:
    nets = (Net(8, (Linear(EYE, None), Activation(name))) for name in ("relu", "tanh"))
    with pytest.raises(HypernetError, match="one activation for all its layers, not relu and tanh"):
        hypernet.save(Network({8: Pair(*nets)}), tmp_path / "file.pt")


@pytest.mark.parametrize("way", [".pt", ".safetensors"])
@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_a_network_that_would_come_back_as_another_is_not_saved(tmp_path: Path, contradiction: str, way: str) -> None:
    net, metadata = CONTRADICTIONS[contradiction]
    with pytest.raises(HypernetError) as caught:
        hypernet.save(Network({8: Pair(net, net)}, metadata), tmp_path / f"file{way}")
    assert str(caught.value).startswith("file.") and str(caught.value).isprintable()
    assert "ownload" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", [".pt", ".safetensors"])
@pytest.mark.parametrize("pairs", [{}, {0: 8}, {-8: 8}, {16: 8}, {10**7: 8}], ids=str)
def test_a_network_of_a_width_that_cannot_be_is_not_saved(tmp_path: Path, pairs: dict[int, int], way: str) -> None:
    net = Net(8, RELU[:1])
    with pytest.raises(HypernetError):
        hypernet.save(Network(dict.fromkeys(pairs, Pair(net, net))), tmp_path / f"file{way}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "way", "other"),
    [("format", ".safetensors", ".pt"), ("16", ".pt", ".safetensors")],
    ids=["own key", "width"],
)
def test_a_key_that_one_kind_of_file_cannot_carry_is_not_lost_silently(
    tmp_path: Path, key: str, way: str, other: str
) -> None:
    net = Net(8, RELU[:1])
    network = Network({8: Pair(net, net)}, Metadata(extra={key: "x"}))
    with pytest.raises(HypernetError):
        hypernet.save(network, tmp_path / f"file{way}")
    hypernet.save(network, tmp_path / f"file{other}")
    assert hypernet.load(tmp_path / f"file{other}").metadata.extra[key] == "x"


def test_whole_numbers_are_no_type_for_weights(tmp_path: Path) -> None:
    network = hypernet.load(write(tmp_path / "first.pt", raw()))
    with pytest.raises(HypernetError, match="int8"):
        hypernet.save(network, tmp_path / "second.pt", dtype=torch.int8)


def test_an_existing_file_is_only_replaced_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "file.pt", raw())
    content, network = path.read_bytes(), hypernet.load(path)
    with pytest.raises(HypernetError, match="already"):
        hypernet.save(network, path)
    assert path.read_bytes() == content
    hypernet.save(network, path, overwrite=True)
    assert path.read_bytes() != content


def test_a_file_may_be_replaced_by_what_was_loaded_from_it(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    hypernet.save(hypernet.load(write(tmp_path / "first.pt", raw())), path)
    before = hypernet.load(path)
    hypernet.save(before, path, overwrite=True, dtype=torch.float64)
    assert all(torch.equal(a.double(), b) for a, b in zip(*map(_tensors, (before, hypernet.load(path))), strict=True))


def _tensors(network: Network) -> list[Tensor]:
    return [tensor for net in network.nets() for tensor in net.tensors()]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    network = hypernet.load(write(tmp_path / "first.pt", raw()))
    with pytest.raises(HypernetError, match="safetensors or"):
        hypernet.save(network, tmp_path / "second.bin")


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = hypernet.load(write(tmp_path / "first.pt", raw()))

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        hypernet.save(network, tmp_path / "second.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["first.pt"]


def test_nets_that_share_their_weights_are_saved_as_two(tmp_path: Path) -> None:
    net = Net(8, (Linear(torch.eye(8), None),))
    for name in ("file.pt", "file.safetensors"):
        hypernet.save(Network({8: Pair(net, net)}), tmp_path / name)
        pair = hypernet.load(tmp_path / name).pairs[8]
        assert next(pair.k.tensors()).data_ptr() != next(pair.v.tensors()).data_ptr()


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    network = hypernet.load(write(tmp_path / "first.pt", raw()))
    for name in ("a.pt", "b.pt", "a.safetensors", "b.safetensors"):
        hypernet.save(network, tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_our_safetensors_is_what_the_safetensors_library_reads(tmp_path: Path) -> None:
    content = GENERATIONS["A1111 v4"]()
    hypernet.save(hypernet.load(write(tmp_path / "first.pt", content)), tmp_path / "second.safetensors")
    with safe_open(tmp_path / "second.safetensors", "pt") as file:
        facts = file.metadata()
        assert (facts["format"], facts["format_version"]) == ("hypernet", "1")
        assert json.loads(facts["layer_structure"]) == content["layer_structure"]
        assert torch.equal(file.get_tensor("8.k.linear.0.weight"), content[8][0]["linear.0.weight"])
        assert len(list(file.keys())) == sum(len(net) for width in WIDTHS for net in content[width])


def test_a_newer_format_version_asks_for_an_update(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    facts = {"format": "hypernet", "format_version": "2"}
    save_file(
        {"8.k.linear.0.weight": torch.eye(8), "8.v.linear.0.weight": torch.eye(8)}, tmp_path / "f.safetensors", facts
    )
    with pytest.raises(hypernet.UnreadableFile, match="Update the program"):
        hypernet.load(tmp_path / "f.safetensors")


def test_a_safetensors_written_by_hand_may_have_plain_texts(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    facts = {"name": "ink", "step": "12", "activation_func": "relu", "sd_checkpoint": "12345"}
    names = [f"8.{which}.linear.{index}.weight" for which in "kv" for index in (0, 2)]
    save_file({name: torch.eye(8) for name in names}, tmp_path / "f.safetensors", facts)
    metadata = hypernet.load(tmp_path / "f.safetensors").metadata
    assert (metadata.name, metadata.step, metadata.sd_checkpoint) == ("ink", 12, "12345")


def test_the_records_of_a_pt_are_the_ones_every_webui_accepts(tmp_path: Path) -> None:
    hypernet.save(hypernet.load(write(tmp_path / "first.pt", raw(widths=(8,)))), tmp_path / "second.pt")
    with zipfile.ZipFile(tmp_path / "second.pt") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert names == ["archive/data.pkl", *(f"archive/data/{index}" for index in range(8)), "archive/version"]


@pytest.mark.skipif("mmap" not in signature(torch.load).parameters, reason="PyTorch before 2.1 maps no .pt")
def test_pytorch_can_map_a_pt_of_ours(tmp_path: Path) -> None:
    content = raw()
    hypernet.save(hypernet.load(write(tmp_path / "first.pt", content)), tmp_path / "second.pt")
    same(torch.load(tmp_path / "second.pt", weights_only=True, mmap=True), content)


def test_a_pt_of_ours_has_what_comfyui_needs(tmp_path: Path) -> None:
    """Whole-number keys, two state dicts each, every weight with its bias, in the order of the layers."""
    hypernet.save(hypernet.load(write(tmp_path / "first.pt", GENERATIONS["A1111 v4"]())), tmp_path / "second.pt")
    content = torch.load(tmp_path / "second.pt", weights_only=True)
    for width in (key for key in content if isinstance(key, int)):
        for net in content[width]:
            weights = [name for name in net if name.endswith(".weight")]
            assert all(name.replace(".weight", ".bias") in net for name in weights)
            assert weights == sorted(weights)


HOST = os.environ.get("HYPERNET_A1111")


@pytest.mark.skipif(not HOST, reason="HYPERNET_A1111 names no folder with AUTOMATIC1111's stable-diffusion-webui")
@pytest.mark.parametrize("way", [".pt", ".safetensors"])
def test_a1111_itself_reads_our_pt_and_computes_the_same(tmp_path: Path, way: str) -> None:
    unread = ("MonkeyPatch (residual)", "widths written")
    jobs = {}
    for number, generation in enumerate(name for name in GENERATIONS if not name.startswith(unread)):
        network = hypernet.load(write(tmp_path / f"{number}.pt", GENERATIONS[generation]()))
        hypernet.save(network, tmp_path / f"{number} saved{way}")
        network = hypernet.load(tmp_path / f"{number} saved{way}")
        hypernet.save(network, tmp_path / f"{number} again.pt")
        jobs[str(tmp_path / f"{number} again.pt")] = network
    torch.save(OrderedDict(x=X, paths=list(jobs)), tmp_path / "jobs")
    script = Path(__file__).with_name("a1111_host.py")
    subprocess.run(
        [sys.executable, script, str(HOST), tmp_path / "jobs", tmp_path / "answers"], check=True, timeout=300
    )
    answers = torch.load(tmp_path / "answers", weights_only=True)
    assert len(answers) == len(jobs) >= 15
    for path, network in jobs.items():
        single = Network({8: Pair(*(net.to("cpu", torch.float32) for net in (network.pairs[8].k, network.pairs[8].v)))})
        for ours, theirs in zip(single(X), answers[path], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
