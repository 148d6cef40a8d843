"""Which files load, as what, and what the message about the others says."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hypernet
from hypernet.errors import UnreadableFile
from hypernet.files import peek, safetensors
from hypernet.files.limits import CHECKED_WHEN_MAPPED
from hypernet.network import Linear, Net, Network, Pair
from tests import make_files
from tests.make_files import GENERATIONS, WIDTHS, Raw, raw, write

X = {width: torch.randn(2, 5, width, generator=torch.Generator().manual_seed(width)) for width in WIDTHS}


def refusal(path: Path) -> UnreadableFile:
    """The error that a file gives. Both `peek` and `load` must refuse it."""
    with pytest.raises(UnreadableFile) as caught:
        hypernet.load(path)
    with pytest.raises(UnreadableFile):
        peek(path)
    assert path.name in str(caught.value)
    assert caught.value.advice
    return caught.value


def nets_of(content: Raw) -> dict[int, Any]:
    return {int(key): value for key, value in content.items() if str(key).isdigit()}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "not zip"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_generation_loads_bit_for_bit(tmp_path: Path, generation: str, legacy: bool) -> None:
    content = GENERATIONS[generation]()
    network = hypernet.load(write(tmp_path / "file.pt", content, legacy=legacy))
    assert network.widths == WIDTHS
    for width, (k, v) in nets_of(content).items():
        for net, state in ((network.pairs[width].k, k), (network.pairs[width].v, v)):
            found = dict(zip(net.names, net.tensors(), strict=True))
            assert found.keys() == state.keys()
            assert all(
                torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state
            )


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "not zip"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_weights_are_the_same_mapped_and_in_memory(tmp_path: Path, generation: str, legacy: bool) -> None:
    path = write(tmp_path / "file.pt", GENERATIONS[generation](), legacy=legacy)
    nets = (hypernet.load(path, mapped=mapped).nets() for mapped in (True, False))
    for one, other in zip(*nets, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.tensors(), other.tensors(), strict=True))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_metadata_says_what_the_file_says(tmp_path: Path, generation: str) -> None:
    content = GENERATIONS[generation]()
    metadata = hypernet.load(write(tmp_path / "file.pt", content)).metadata
    facts = {key: value for key, value in content.items() if not str(key).isdigit()}
    facts.pop("optimizer_state_dict", None)
    assert metadata.keys == tuple(facts)
    for key, value in facts.items():
        found = metadata.extra.get(key, getattr(metadata, key, None))
        assert found == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("generation", [name for name in GENERATIONS if name[0].isupper() and "PReLU" not in name])
def test_a_summary_names_the_generation(tmp_path: Path, generation: str) -> None:
    name = peek(write(tmp_path / "file.pt", GENERATIONS[generation]())).generation
    assert generation.startswith(name)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_summary_agrees_with_the_loaded_network(tmp_path: Path, generation: str) -> None:
    path = write(tmp_path / "file.pt", GENERATIONS[generation]())
    summary, network = peek(path), hypernet.load(path)
    assert (summary.widths, summary.base, summary.linear) == (network.widths, network.base, network.linear)
    assert (summary.parameters, summary.nbytes) == (network.parameters, network.nbytes)
    assert summary.metadata == network.metadata


def test_a_summary_knows_the_structure_that_the_file_conceals(tmp_path: Path) -> None:
    content = raw({"activation_func": "tanh"}, structure=(1, 1.5, 0.5, 1), activation="tanh", activate_output=True)
    summary = peek(write(tmp_path / "file.pt", content))
    assert summary.structure == (1, 1.5, 0.5, 1)
    assert (summary.activation, summary.activate_output, summary.dtype) == ("tanh", True, "float32")


def formula(net: torch.nn.Sequential, x: Tensor, strength: float) -> Tensor:
    return x + strength * net(x)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activate_output", [False, True])
@pytest.mark.parametrize("dropout", [(), (0, 0.3, 0, 0), (0, 0.3, 0.3, 0)], ids=str)
@pytest.mark.parametrize("activation", ["linear", "relu", "swish", "prelu"])
def test_layers_come_from_indices_and_shapes(
    tmp_path: Path, activation: str, dropout: tuple[float, ...], activate_output: bool, layer_norm: bool
) -> None:
    net = make_files.sequence(
        *(8, (1, 2, 2, 1), activation),
        layer_norm=layer_norm,
        activate_output=activate_output,
        dropout=dropout,
    )
    facts = {"activation_func": activation, "activate_output": activate_output, "use_dropout": bool(dropout)}
    facts |= {"layer_structure": "a lie", "is_layer_norm": not layer_norm}
    path = write(tmp_path / "file.pt", {8: (make_files.states(net), make_files.states(net))} | facts)
    k, _ = hypernet.load(path)(X[8], strength=0.7)
    torch.testing.assert_close(k, formula(net, X[8], 0.7), atol=1e-6, rtol=0)


@pytest.mark.parametrize("activation", sorted(set(make_files.ACTIVATIONS) - {"glu", "threshold", "multiheadattention"}))
def test_every_activation_of_a1111(tmp_path: Path, activation: str) -> None:
    net = make_files.sequence(8, activation=activation, activate_output=True)
    content = {8: (make_files.states(net), make_files.states(net)), "activation_func": activation}
    network = hypernet.load(write(tmp_path / "file.pt", content))
    torch.testing.assert_close(network(X[8], 0.7)[1], formula(net, X[8], 0.7), atol=1e-6, rtol=0)


@pytest.mark.parametrize("resized", [True, False])
@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("activation", [None, "elu", "prelu"])
def test_residual_blocks_of_monkeypatch(
    tmp_path: Path, activation: str | None, layer_norm: bool, resized: bool
) -> None:
    net = make_files.residual(8, (1, 1.5, 2, 1), activation, layer_norm=layer_norm, resized=resized)
    content = {8: (make_files.states(net), make_files.states(net)), "activation_func": activation}
    network = hypernet.load(write(tmp_path / "file.pt", content | {"skip_connection": True}))
    torch.testing.assert_close(network(X[8], 0.7)[0], X[8] + 0.7 * (net(X[8]) - X[8]), atol=1e-6, rtol=0)


def test_an_activation_is_applied_at_the_end_when_the_file_is_silent(tmp_path: Path) -> None:
    net = make_files.sequence(8, activation="relu", activate_output=True)
    path = write(tmp_path / "file.pt", {8: (make_files.states(net),) * 2, "activation_func": "relu"})
    torch.testing.assert_close(hypernet.load(path)(X[8])[0], formula(net, X[8], 1.0), atol=1e-6, rtol=0)


def test_the_file_name_does_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path / "no suffix", raw())
    hypernet.save(hypernet.load(path), tmp_path / "real.safetensors")
    (tmp_path / "real.safetensors").rename(tmp_path / "pretends.pt")
    assert peek(path).container == "pt"
    assert peek(tmp_path / "pretends.pt").container == "safetensors"


def test_tensors_that_share_one_storage_load(tmp_path: Path) -> None:
    whole = torch.randn(8 * 8 * 2)
    net = {"linear.0.weight": whole[64:].view(8, 8).t(), "linear.1.weight": whole[:64].view(8, 8)}
    network = hypernet.load(write(tmp_path / "file.pt", {8: (net, net)}))
    assert all(torch.equal(a, b) for a, b in zip(network.pairs[8].v.tensors(), net.values(), strict=True))


def test_numbers_of_numpy_are_read_as_numbers(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    facts = {"step": numpy.int64(7), "loss": numpy.float32(0.5)}
    metadata = hypernet.load(write(tmp_path / "file.pt", raw(facts))).metadata
    assert metadata.step == 7
    assert metadata.extra["loss"] == 0.5


def test_parameters_are_read_as_tensors(tmp_path: Path) -> None:
    net = {"linear.0.weight": torch.nn.Parameter(torch.eye(8))}
    assert hypernet.load(write(tmp_path / "file.pt", {8: (net, net)})).parameters == 128


def test_a_fact_of_the_wrong_type_is_kept_apart(tmp_path: Path) -> None:
    metadata = hypernet.load(write(tmp_path / "file.pt", raw({"name": 5, "step": "many", "tags": ["a", 1]}))).metadata
    assert (metadata.name, metadata.step) == (None, None)
    assert metadata.extra == {"name": 5, "step": "many", "tags": ["a", 1]}


def test_a_replaced_file_leaves_the_loaded_network_alone(tmp_path: Path) -> None:
    for name in ("net.pt", "net.safetensors"):
        hypernet.save(hypernet.load(write(tmp_path / "first.pt", raw())), tmp_path / name)
        network = hypernet.load(tmp_path / name)
        before = network(X[8])[0].clone()
        hypernet.save(
            hypernet.load(write(tmp_path / "other.pt", GENERATIONS["PReLU"]())), tmp_path / name, overwrite=True
        )
        assert torch.equal(network(X[8])[0], before)


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_a_network_in_memory_survives_its_file_being_cut_short(tmp_path: Path, name: str) -> None:
    hypernet.save(hypernet.load(write(tmp_path / "first.pt", raw())), tmp_path / name)
    network = hypernet.load(tmp_path / name, mapped=False)
    before = network(X[8])[0].clone()
    os.truncate(tmp_path / name, 0)
    assert torch.equal(network(X[8])[0], before)


def test_a_mapped_large_file_whose_training_failed_is_refused(tmp_path: Path) -> None:
    net = Net(512, (Linear(torch.full((512, 512), torch.nan), torch.full((512,), torch.nan)),))
    with (tmp_path / "net.safetensors").open("wb") as stream:
        safetensors.write(
            Network({512: Pair(net, net)}), {512: ({"linear.0.weight": next(net.tensors())},) * 2}, stream
        )
    assert (tmp_path / "net.safetensors").stat().st_size > CHECKED_WHEN_MAPPED
    with pytest.raises(UnreadableFile, match="not numbers"):
        hypernet.load(tmp_path / "net.safetensors")


def test_writing_to_weights_does_not_write_to_the_file(tmp_path: Path) -> None:
    hypernet.save(hypernet.load(write(tmp_path / "first.pt", raw())), tmp_path / "net.safetensors")
    content = (tmp_path / "net.safetensors").read_bytes()
    next(hypernet.load(tmp_path / "net.safetensors").pairs[8].k.tensors()).zero_()
    assert (tmp_path / "net.safetensors").read_bytes() == content


BROKEN: dict[str, tuple[Raw, str]] = {
    "no V": ({8: (raw()[8][0],)}, "K or for V"),
    "V is None": ({8: (raw()[8][0], None)}, "K or for V"),
    "three nets": ({8: raw()[8] + raw()[8][:1]}, "3 networks"),
    "an empty net": ({8: ({}, {})}, "empty"),
    "another width": ({16: raw()[8]}, "has the shape 16x8"),
    "a weight of no shape": ({8: ({"linear.0.weight": torch.tensor(1.0)},) * 2}, "has the shape ()"),
    "an empty weight": ({8: ({"linear.0.weight": torch.ones(0, 8)},) * 2}, "has the shape 0x8"),
    "shapes that don't chain": (raw({}) | {8: ({"linear.0.weight": torch.ones(9, 8)},) * 2}, "9 values instead of 8"),
    "a bias too long": (
        {8: ({"linear.0.weight": torch.eye(8), "linear.0.bias": torch.ones(9)},) * 2},
        "shape 9, not 8",
    ),
    "a bias alone": ({8: ({"linear.0.bias": torch.ones(8)},) * 2}, "no weight"),
    "layer norm alone": ({8: ({"linear.0.weight": torch.ones(8), "linear.0.bias": torch.ones(8)},) * 2}, "no linear"),
    "a missing layer": ({8: ({"linear.0.weight": torch.eye(8), "linear.4.weight": torch.eye(8)},) * 2}, "missing"),
    "no first layer": ({8: ({"linear.1.weight": torch.eye(8)},) * 2}, "first layer"),
    "an unnamed activation": (
        {8: ({"linear.0.weight": torch.eye(8), "linear.2.weight": torch.eye(8)},) * 2},
        "activation",
    ),
    "an unknown activation": (raw({"activation_func": "wobble"}), "'wobble', which is not known"),
    "glu": (raw({"activation_func": "glu"}), "'glu'"),
    "threshold": (raw({"activation_func": "Threshold"}), "'threshold'"),
    "a strange name": ({8: ({"conv.weight": torch.eye(8)},) * 2}, "'conv.weight' is no name"),
    "whole numbers": ({8: ({"linear.0.weight": torch.ones(8, 8).int()},) * 2}, "int32"),
    "complex numbers": ({8: ({"linear.0.weight": torch.ones(8, 8).cfloat()},) * 2}, "complex64"),
    "NaN": ({8: ({"linear.0.weight": torch.full((8, 8), torch.nan)},) * 2}, "not numbers"),
    "infinity": ({8: ({"linear.0.weight": torch.full((8, 8), torch.inf).half()},) * 2}, "not numbers"),
    "a list for a weight": ({8: ({"linear.0.weight": [1.0]},) * 2}, "is no tensor"),
    "no network": ({"step": 5, "name": "x"}, "no network"),
    "a negative width": ({-8: raw()[8]}, "-8"),
    "one layer, 10,000 times": ({8: ({f"linear.{i}.weight": torch.eye(8) for i in range(1000)},) * 2}, "1,000 weights"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_whose_parts_do_not_fit_is_refused_with_the_reason(tmp_path: Path, what: str) -> None:
    content, reason = BROKEN[what]
    path = write(tmp_path / "file.pt", content)
    with pytest.raises(UnreadableFile) as caught:
        hypernet.load(path)
    assert reason in caught.value.problem


def test_values_near_the_largest_are_not_taken_for_infinite(tmp_path: Path) -> None:
    net = {"linear.0.weight": torch.full((8, 8), 3e38)}
    assert hypernet.load(write(tmp_path / "file.pt", {8: (net, net)})).widths == (8,)


LOOKALIKES: dict[str, tuple[object, str]] = {
    "LoRA": ({"lora_unet_down_blocks_0.lora_down.weight": torch.ones(4, 8)}, "models/Lora"),
    "embedding": (
        {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2, 768)}, "name": "x"},
        "embeddings",
    ),
    "checkpoint": ({"state_dict": {"model.diffusion_model.out.2.bias": torch.ones(4)}}, "models/Stable-diffusion"),
    "VAE": ({"encoder.conv_in.weight": torch.ones(4), "decoder.conv_in.weight": torch.ones(4)}, "models/VAE"),
    "optimizer": ({"hash": "0123456789", "optimizer_name": "Adam", "optimizer_state_dict": {}}, "training"),
    "upscaler": ({"params_ema": {"conv_first.weight": torch.ones(4)}}, "ESRGAN"),
    "aesthetic gradient": (torch.ones(1, 768), "single tensor"),
    "list": ([1, 2, 3], "no table"),
}


@pytest.mark.parametrize("what", LOOKALIKES)
def test_another_kind_of_model_is_sent_where_it_belongs(tmp_path: Path, what: str) -> None:
    content, advice = LOOKALIKES[what]
    assert advice in str(refusal(write(tmp_path / "file.pt", content)))


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (["lora_unet_mid.lora_up.weight"], "models/Lora"),
        (["unet.down.lora_A.weight"], "models/Lora"),
        (["emb_params"], "embeddings"),
        (["clip_g", "clip_l"], "embeddings"),
        (["model.diffusion_model.input_blocks.0.0.bias"], "models/Stable-diffusion"),
        (["control_model.input_hint_block.0.bias"], "models/ControlNet"),
        (["something.weight"], "not a hypernetwork (it holds 'something.weight')"),
    ],
)
def test_another_safetensors_is_sent_where_it_belongs(tmp_path: Path, names: list[str], advice: str) -> None:
    from safetensors.torch import save_file

    save_file({name: torch.ones(2, 2) for name in names}, tmp_path / "file.safetensors")
    assert advice in str(refusal(tmp_path / "file.safetensors"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Please log in", "web page"),
        (b"\n <html>", "web page"),
        (b'{"error": "Unauthorized"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git-lfs"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"\x1f\x8b\x08", "gzip"),
        (bytes(1000), "zeros"),
        (b"sys_info" + bytes(249) + b"ustar" + bytes(300), "tar archive"),
        (b"PK\5\6" + bytes(18), "empty zip"),
        (b"hello", "neither"),
        (b"\x80\x02K\x01.", "not one that PyTorch wrote"),
        ((300).to_bytes(8, "little") + b'{"a":', "cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_model_at_all_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "file.pt").write_bytes(content)
    assert says in str(refusal(tmp_path / "file.pt"))


def test_a_zip_of_something_else_is_named(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        archive.writestr("ink.pt", b"...")
    assert "Unpack it" in str(refusal(tmp_path / "file.pt"))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "not zip"])
def test_a_download_cut_short_anywhere_is_refused(tmp_path: Path, legacy: bool) -> None:
    whole = write(tmp_path / "file.pt", raw(make_files.V0, widths=(8,)), legacy=legacy).read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "file.pt").write_bytes(whole[:length])
        with pytest.raises(UnreadableFile):
            hypernet.load(tmp_path / "file.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in str(refusal(tmp_path / "nothing.pt"))


def test_a_folder_is_named(tmp_path: Path) -> None:
    assert "a folder" in str(refusal(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes in folders")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    assert "not an ordinary file" in str(refusal(tmp_path / "pipe.pt"))


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.EACCES, "not permitted"), (errno.EIO, "can't read it"), (errno.ENAMETOOLONG, "can't read it")],
)
def test_what_the_system_says_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    assert says in str(refusal(tmp_path / "file.pt"))


def test_a_name_too_long_for_the_system_gives_the_usual_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        hypernet.load(tmp_path / ("x" * 5000))


def test_a_drive_that_can_not_map_is_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    path = write(tmp_path / "file.pt", raw())
    monkeypatch.setattr("hypernet.files.source.Source.map", fail)
    assert hypernet.load(path).widths == WIDTHS


def test_not_enough_memory_gives_the_usual_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    path = write(tmp_path / "file.pt", raw())
    monkeypatch.setattr("hypernet.files.source.Source.room", fail)
    with pytest.raises(UnreadableFile, match="not enough memory"):
        hypernet.load(path, mapped=False)


def test_a_path_with_a_nul_gives_the_usual_error() -> None:
    with pytest.raises(UnreadableFile):
        hypernet.load("a\0b.pt")


@pytest.mark.parametrize(
    "error", [AttributeError("a bug"), TypeError("a bug"), KeyError("a bug"), RuntimeError("a bug")]
)
def test_an_error_of_ours_is_called_so_and_logged_and_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = write(tmp_path / "file.pt", raw())
    monkeypatch.setattr("hypernet.files.layout.build", fail)
    for read in (hypernet.load, peek):
        with pytest.raises(UnreadableFile, match="an error of this program") as caught:
            read(path)
        assert "damaged" not in str(caught.value) and "ownload" not in str(caught.value)
    assert "a bug" in caplog.text and "Traceback" in caplog.text


def test_a_file_of_a_size_that_no_network_has_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "file.pt", raw())
    os.truncate(path, 1 << 40)  # sparse: it takes no room on the disk
    assert "1,024 GB, far more" in str(refusal(path))


def test_weights_of_more_bytes_than_any_network_has_are_refused(tmp_path: Path) -> None:
    side = 20_000
    entry = {"dtype": "F32", "shape": [side, side]}
    header = {
        f"{side}.{which}.linear.0.weight": entry | {"data_offsets": [n * 4 * side**2, (n + 1) * 4 * side**2]}
        for n, which in enumerate("kv")
    }
    content = json.dumps(header).encode()
    path = tmp_path / "file.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    os.truncate(path, 8 + len(content) + 8 * side**2)
    assert "3.0 GB, far more than a hypernetwork" in str(refusal(path))


def test_a_vae_is_called_a_vae_also_inside_of_a_checkpoints_table(tmp_path: Path) -> None:
    weights = {"encoder.conv_in.weight": torch.ones(4), "decoder.mid.block_1.norm1.weight": torch.ones(4)}
    assert "a VAE" in str(refusal(write(tmp_path / "ink.vae.pt", {"state_dict": weights})))
