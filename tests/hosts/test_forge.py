"""What is the Forge family's own: inference weights, projections of its classes, its memory, its batch halves."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernet.engine import Engine
from hypernet.errors import HypernetError
from hypernet.files import save
from hypernet.plan import Plan, make_plan, open_tags
from hypernet.sites import find_sites
from hypernet.tags import parse
from hypernet.webui.dialects.forge import Forge
from hypernet.webui.session import Session
from tests.unets import TEXT, TinyUNet, network, plain_formula


class Projection(nn.Module):
    """Looks like `ForgeOperations.Linear`: no nn.Linear, made in inference mode."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.in_features, self.bias = weight.shape[1], None
        with torch.inference_mode():
            self.weight = nn.Parameter(weight.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)

    forward.__module__ = "backend.operations"


class Patcher:
    """Looks like Forge's `UnetPatcher`."""

    def __init__(self, unet: nn.Module) -> None:
        self.model = SimpleNamespace(diffusion_model=unet)
        self.model_options: dict[str, Any] = {}
        self.reserved = 0

    def clone(self) -> Patcher:
        other = Patcher(self.model.diffusion_model)
        other.model_options, other.reserved = copy.deepcopy(self.model_options), self.reserved
        return other

    def add_extra_preserved_memory_during_sampling(self, memory_in_bytes: int) -> None:
        self.reserved += memory_in_bytes


@pytest.fixture
def unet() -> TinyUNet:
    made = TinyUNet()
    for site in find_sites(made):
        path, _, name = site.name.rpartition(".")
        setattr(made.get_submodule(path), name, Projection(site.module.weight))
    return made


@pytest.fixture
def p(unet: TinyUNet) -> Iterator[Any]:
    return SimpleNamespace(sd_model=SimpleNamespace(forge_objects=SimpleNamespace(unet=Patcher(unet))))


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SimpleNamespace(sd_model=None)
    monkeypatch.setitem(__import__("sys").modules, "modules", SimpleNamespace(shared=shared))
    monkeypatch.setitem(__import__("sys").modules, "modules.shared", shared)


def plan(unet: nn.Module) -> Plan:
    uses, _ = open_tags(parse("<hypernet:a:0.5>").tags, lambda name: network(1))
    return make_plan(uses, find_sites(unet))


def test_the_unet_is_the_one_that_forge_runs(p: Any, unet: TinyUNet) -> None:
    assert Forge().find_unet(p) is unet


def test_a_model_without_a_unet_is_refused_with_a_sentence() -> None:
    with pytest.raises(HypernetError, match="no effect"):
        Forge().find_unet(SimpleNamespace(sd_model=SimpleNamespace()))


def test_a_transformer_without_k_and_v_gets_one_note_and_no_hook() -> None:
    flux = nn.Sequential(nn.Linear(4, 4))
    assert len(plan(flux).notes) == 1
    assert not plan(flux).sites


def test_a_weight_loaded_in_inference_mode_is_read_as_the_same_memory() -> None:
    projection = Projection(torch.randn(3, 4))
    weight = Forge().read_weight(projection)
    assert weight is not None
    assert not weight.is_inference()
    assert weight.data_ptr() == projection.weight.data_ptr()
    assert torch.equal(weight, projection.weight)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("scale_weight", torch.ones(1)),
        ("forge_online_loras", {"weight": [1]}),
        ("weight_function", [abs]),
    ],
)
def test_a_projection_that_does_more_than_multiply_is_not_read(change: str, value: Any) -> None:
    projection = Projection(torch.randn(3, 4))
    setattr(projection, change, value)
    assert Forge().read_weight(projection) is None


@pytest.mark.parametrize("empty", [None, [], {}])
def test_an_empty_list_of_changes_is_none(empty: Any) -> None:
    projection = Projection(torch.randn(3, 4))
    projection.weight_function = empty
    assert Forge().read_weight(projection) is not None


@pytest.mark.parametrize("name", ["float8_e4m3fn", "uint8"])
def test_quantised_weights_are_not_read(name: str) -> None:
    dtype = getattr(torch, name, None)
    if dtype is None:
        pytest.skip(f"this PyTorch has no {name}")
    assert Forge().read_weight(Projection(torch.zeros(3, 4, dtype=dtype))) is None


def test_a_call_patched_by_another_extension_is_not_read() -> None:
    class Patched(Projection):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    assert Forge().read_weight(Patched(torch.randn(3, 4))) is None


def test_networks_are_folded_into_inference_weights_and_follow_a_lora(unet: TinyUNet) -> None:
    x, context = torch.randn(2, 6, 16), torch.randn(2, 4, TEXT)
    engine, nets = Engine(), network(1)

    def formula(site: Any, y: Tensor) -> Tensor:
        pair = nets.pairs[site.width]
        return (pair.k if site.kind == "k" else pair.v)(y, 0.5)

    with torch.inference_mode():
        engine.attach(unet, plan(unet), read_weight=Forge().read_weight)
        assert engine.explain()["fold"] and engine.explain()["cache"]
        got = [unet(x, None, context)]
        for site in find_sites(unet):  # Forge merges a LoRA by putting another parameter in the place of the weight
            site.module.weight = nn.Parameter(site.module.weight * 1.5, requires_grad=False)
        got.append(unet(x, None, context))
        engine.detach()
        with plain_formula(unet, formula):
            want = unet(x, None, context)
    assert not torch.allclose(got[0], want)
    assert torch.allclose(got[1], want, atol=1e-4)


@pytest.mark.parametrize(
    ("parts", "cond"),
    [
        ([1, 0], (False, False, True, True)),
        ([0], (True,) * 4),
        ([1], (False,) * 4),
        ([1, 0, 0, 0], (False, True, True, True)),
        ([1, 0, 0], None),
        ([], None),
    ],
)
def test_the_halves_of_a_batch_are_those_that_the_backend_names(parts: list[int], cond: Any) -> None:
    clock = Forge().new_clock(None)
    moment = clock((torch.zeros(4, 4, 8, 8),), {"transformer_options": {"cond_or_uncond": parts}})
    assert moment.cond == cond


def test_memory_is_reserved_on_a_clone_once_for_each_pass(p: Any) -> None:
    objects = p.sd_model.forge_objects
    original = objects.unet
    for _ in range(2):  # the host puts the original back before it calls again
        objects.unet = original
        Forge().reserve_memory(p, 1000)
        assert objects.unet.reserved == 1000
    assert original.reserved == 0
    assert objects.unet.model_options == {}  # nothing of ours for others to copy


class ForgeInFolder(Forge):
    """Forge with its files in one folder, and no settings."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def model_dirs(self) -> tuple[Path, ...]:
        return (self._folder,)

    def cache_dir(self) -> None:
        return None

    def may_hash(self) -> bool:
        return False

    def option(self, key: str, default: Any) -> Any:
        return default

    def publish(self, files: Any) -> None: ...

    def uninstall(self) -> None: ...


@pytest.fixture
def session(p: Any, tmp_path: Path) -> Iterator[Session]:
    """With p's networks active."""
    save(network(1), tmp_path / "a.safetensors")
    p.all_prompts, p.extra_generation_params, p.close = ["a cat"], {}, lambda: None
    session = Session(ForgeInFolder(tmp_path))
    session.activate(p, [SimpleNamespace(items=["a", "0.5"])])
    yield session
    session.close()


def test_memory_is_reserved_anew_when_a_refiner_takes_over(p: Any, session: Session) -> None:
    for _ in range(2):
        first = p.sd_model.forge_objects.unet = Patcher(TinyUNet())
        session.before_sampling(p)
        session.step(denoiser_params(p))
        assert first.reserved == 0
        assert p.sd_model.forge_objects.unet.reserved == network(1).nbytes


def test_a_host_that_drops_its_model_in_mid_run_has_the_memory(p: Any, session: Session) -> None:
    p.sd_model.forge_objects.unet = Patcher(TinyUNet())
    session.before_sampling(p)
    dropped = weakref.ref(p.sd_model.forge_objects.unet.model.diffusion_model)
    p.sd_model.forge_objects = None  # as before a refiner is loaded
    gc.collect()
    assert dropped() is None


def denoiser_params(p: Any) -> Any:
    """What the host's callback gives at the first of two steps."""
    x = torch.zeros(2, 4, 8, 8)
    denoiser = SimpleNamespace(p=p, step=0, total_steps=2)
    return SimpleNamespace(x=x, text_cond=x[:1], text_uncond=x[1:], denoiser=denoiser)
