"""The result equals that of A1111's own code, on files its own code wrote (see tests/data/oracle/README.md)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import hypernet
from hypernet.network import Network

ORACLE = Path(__file__).parent / "data" / "oracle"
CASES = json.loads((ORACLE / "index.json").read_text())
OUTPUTS = load_file(ORACLE / "outputs.safetensors")


def chained(networks: list[Network], strengths: list[float], x: Tensor) -> tuple[Tensor, Tensor]:
    """Networks applied one after the other, in the order of the prompt. x: (batch, tokens, width)."""
    k = v = x
    for network, strength in zip(networks, strengths, strict=True):
        pair = network.pairs[x.shape[-1]]
        k = pair.k.to("cpu", x.dtype)(k, strength)
        v = pair.v.to("cpu", x.dtype)(v, strength)
    return k, v


def test_the_oracle_is_complete() -> None:
    assert len(CASES) == 46


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['case']}-{'+'.join(case['networks'])}")
def test_a_case_of_the_oracle(case: dict) -> None:
    networks = [hypernet.load(ORACLE / f"{name}.pt") for name in case["networks"]]
    x = OUTPUTS[f"{case['case']}.x"]
    k, v = chained(networks, case["strengths"], x)
    torch.testing.assert_close(k, OUTPUTS[f"{case['case']}.k"], atol=1e-5, rtol=0)
    torch.testing.assert_close(v, OUTPUTS[f"{case['case']}.v"], atol=1e-5, rtol=0)


def computes_in(dtype: torch.dtype) -> bool:
    """Whether this PyTorch can multiply matrices of the type on the CPU; half precision came with 2.2."""
    try:
        torch.ones(1, 1, dtype=dtype) @ torch.ones(1, 1, dtype=dtype)
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("dtype", [d for d in (torch.float16, torch.bfloat16) if computes_in(d)], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['case']}-{'+'.join(case['networks'])}")
def test_half_precision_stays_within_its_rounding(case: dict, dtype: torch.dtype) -> None:
    networks = [hypernet.load(ORACLE / f"{name}.pt") for name in case["networks"]]
    x = OUTPUTS[f"{case['case']}.x"]
    got = chained(networks, case["strengths"], x.to(dtype))
    steps = sum(len(network.pairs[x.shape[-1]].k.layers) + 2 for network in networks)
    for result, name in zip(got, "kv", strict=True):
        expected = OUTPUTS[f"{case['case']}.{name}"]
        allowed = steps * torch.finfo(dtype).eps * float(expected.abs().max())
        torch.testing.assert_close(result.float(), expected, atol=allowed, rtol=0)
