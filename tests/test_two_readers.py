"""We read in a `.pt` what PyTorch and `zipfile` read in it, or nothing at all. So nothing can hide in it."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import hypernet
from hypernet.files import reading
from hypernet.files.errors import FormatError
from hypernet.files.pt import zip as zipped
from hypernet.files.source import Source
from tests import hostile
from tests.make_files import GENERATIONS, write


def saved(content: object, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


NET = {"linear.0.weight": torch.arange(64.0).view(8, 8)}
OTHER = {"linear.0.weight": torch.arange(64.0, 128.0).view(8, 8)}
ARCHIVES = (
    saved({8: (NET, OTHER)}),
    hostile.by_hand(hostile.plain_records()),
    hostile.by_hand(hostile.plain_records() | {"a/version": hostile.record("a/version", b"3\n", extra=b"FB\x03\0ZZZ")}),
)
LEGACY = (saved({8: (NET, OTHER)}, _use_new_zipfile_serialization=False),)
FIELDS = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08")


@st.composite
def damaged(draw: st.DrawFn, archives: tuple[bytes, ...]) -> bytes:
    """An archive in which some bytes were replaced, put in or taken out, mostly in its headers."""
    data = draw(st.sampled_from(archives))
    places = [at for signature in FIELDS for at in range(len(data)) if data.startswith(signature, at)] or [0]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(places) | st.integers(0, len(data)))
        at += draw(st.integers(0, 60))
        new = draw(st.binary(max_size=4) | st.sampled_from((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0", b"\x08\0")))
        data = data[:at] + new + data[at + draw(st.sampled_from((len(new), len(new), 0))) :]
    return data


def ours(data: bytes) -> list[Tensor] | None:
    try:
        network = reading.read(Source.of(data), mapped=False)
    except FormatError:
        return None
    return [tensor for net in network.nets() for tensor in net.tensors()]


def torchs(data: bytes) -> list[Tensor] | None:
    """None where PyTorch does not read it as a hypernetwork of width 8."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nets = torch.load(io.BytesIO(data), weights_only=True)[8]
        return [tensor for net in nets for tensor in net.values()]
    except (
        RuntimeError,
        pickle.UnpicklingError,
        KeyError,
        TypeError,
        ValueError,
        EOFError,
        AttributeError,
        IndexError,
    ):
        return None


@settings(max_examples=1500)
@given(damaged(ARCHIVES + LEGACY))
def test_no_damage_makes_pytorch_read_other_weights(data: bytes) -> None:
    found = ours(data)
    if found is None:
        return
    others = torchs(data)
    assert others is None or len(found) == len(others)
    assert all(torch.equal(one, other) for one, other in zip(found, others or found, strict=True))


@settings(max_examples=1500)
@given(damaged(ARCHIVES))
def test_no_damage_makes_zipfile_read_other_records(data: bytes) -> None:
    source = Source.of(data)
    try:
        parts = zipped._parts(source)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    except (FormatError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError):
        return
    assert listed == {name: source.bytes_at(part.start, part.size) for name, part in parts.items()}


HOSTILE = hostile.corpus()


@pytest.mark.parametrize("file", [name for name in HOSTILE if name.startswith(("zip", "legacy", "tensor"))])
def test_nothing_is_read_in_a_hostile_file_that_pytorch_does_not_read(file: str) -> None:
    assert ours(HOSTILE[file]) is None or torchs(HOSTILE[file]) is not None


W = torch.randn(320, 320, generator=torch.Generator().manual_seed(3))
FORMS: dict[str, tuple[str, Any, torch.dtype, str]] = {
    "Apple": ("device_tensor_from_numpy", W.numpy(), torch.float32, "mps:0"),
    "DirectML": ("device_tensor_from_numpy", W.numpy(), torch.float32, "privateuseone:0"),
    "XLA": ("xla_tensor", W.numpy(), torch.float32, "xla:0"),
    "ONNX Runtime": ("ort_tensor", W.numpy(), torch.float32, "ort:0"),
    "MLC": ("mlc_tensor", W.numpy(), torch.float32, "mlc:0"),
    "Habana": ("hpu_tensor", W.numpy(), torch.float32, "hpu:0"),
    "a copy in memory": ("device_tensor_from_cpu_tensor", W, torch.float32, "xla:0"),
    "half": ("device_tensor_from_numpy", W.half().numpy(), torch.float16, "mps:0"),
    "double": ("device_tensor_from_numpy", W.double().numpy(), torch.float64, "mps:0"),
    "bfloat16": ("device_tensor_from_numpy", W.bfloat16().float().numpy(), torch.bfloat16, "xla:0"),
    "columns first": ("device_tensor_from_numpy", W.numpy().T, torch.float32, "mps:0"),
    "few numbers": ("device_tensor_from_numpy", W[:8, :8].numpy(), torch.float32, "mps:0"),
}
NUMBERS = {
    "columns first": W.T,
    "half": W.half(),
    "double": W.double(),
    "bfloat16": W.bfloat16(),
    "few numbers": W[:8, :8],
}


class OnDevice:
    """Pickles as a tensor of a device without storages does."""

    def __init__(self, build: Any, *arguments: Any) -> None:
        self.reduced = build, arguments

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.reduced


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "in memory"])
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_tensors_of_devices_without_storages_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, options: dict[str, Any], mapped: bool
) -> None:
    name, *arguments = FORMS[form]

    def build() -> None: ...

    build.__module__, build.__qualname__ = "torch._utils", f"_rebuild_{name}"
    monkeypatch.setattr(torch._utils, build.__qualname__, build, raising=False)
    want = NUMBERS.get(form, W)
    net = OrderedDict({"linear.0.weight": OnDevice(build, *arguments, False)})
    (tmp_path / "mac.pt").write_bytes(saved({len(want): (net, net), "step": 7}, **options))
    network = hypernet.load(tmp_path / "mac.pt", mapped=mapped)
    assert network.metadata.step == 7
    for found in network.nets():
        (weight,) = found.tensors()
        assert weight.dtype == want.dtype and torch.equal(weight, want)


def test_tensors_with_attributes_of_their_own_are_read(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.eye(8))
    weight.note = "mine"  # type: ignore[attr-defined]
    plain = torch.eye(8)
    plain.note = "mine"  # type: ignore[attr-defined]
    (tmp_path / "file.pt").write_bytes(saved({8: ({"linear.0.weight": weight}, {"linear.0.weight": plain})}))
    assert all(torch.equal(next(net.tensors()), torch.eye(8)) for net in hypernet.load(tmp_path / "file.pt").nets())


def eight_bits(weight: Tensor) -> Tensor:
    if not hasattr(torch, "float8_e4m3fn"):
        pytest.skip("this PyTorch has no float8_e4m3fn")
    return weight.to(torch.float8_e4m3fn)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (torch.Tensor.to_sparse, "sparse tensors"),
        (lambda weight: weight.to("meta"), "tensors without numbers"),
        (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "quantised tensors"),
        (eight_bits, "another kind than floating-point"),
    ],
    ids=["sparse", "meta", "quantised", "eight bits"],
)
def test_tensors_of_other_kinds_are_named_and_not_called_malicious(
    tmp_path: Path, make: Callable[[Tensor], Tensor], said: str
) -> None:
    (tmp_path / "file.pt").write_bytes(saved({8: ({"linear.0.weight": make(torch.eye(8))},) * 2}))
    with pytest.raises(hypernet.UnreadableFile, match=said) as caught:
        hypernet.load(tmp_path / "file.pt")
    assert "malicious" not in str(caught.value)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "not zip"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_torch_needs_no_numpy_for_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generation: str, legacy: bool
) -> None:
    """torch before 2.3 has none where numpy is 2, as `pip install` gives on an Intel Mac."""
    path = write(tmp_path / "file.pt", GENERATIONS[generation](), legacy=legacy)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Numpy is not available")

    monkeypatch.setattr(torch.Tensor, "numpy", fail)
    monkeypatch.setattr(torch, "from_numpy", fail)
    for mapped in (True, False):
        network = hypernet.load(path, mapped=mapped)
        for suffix in (".pt", ".safetensors"):
            hypernet.save(network, tmp_path / f"again{suffix}", overwrite=True)
            hypernet.load(tmp_path / f"again{suffix}", mapped=mapped)
