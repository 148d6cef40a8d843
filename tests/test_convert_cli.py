"""The commands that make files, as typed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("typer")


import hypernet
from hypernet import Metadata
from tests.conftest import Run
from tests.test_convert_bake import checkpoint
from tests.unets import TinyUNet, network


@pytest.mark.parametrize("command", ["bake", "lora", "merge", "reduce"])
def test_every_command_explains_itself_with_an_example(command: str, run: Run) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"hypernet {command}" in out


def test_bake_tells_what_it_did_and_what_was_there_before(run: Run) -> None:
    checkpoint(Path("model.safetensors"), TinyUNet())
    hypernet.save(network(seed=1), "ink.pt")
    code, out, err = run("bake", "model.safetensors", "ink.pt:0.7", "-o", "one.safetensors")
    assert (code, err) == (0, "")
    assert "one.safetensors: 32 projections and 16 biases changed" in out
    code, out, err = run("bake", "one.safetensors", "ink.pt:0.7:k=0", "-o", "two.safetensors")
    assert code == 0
    assert "ink.pt had been baked into one.safetensors before" in err


def test_bake_says_what_is_wrong_in_one_sentence(run: Run) -> None:
    checkpoint(Path("model.safetensors"), TinyUNet())
    code, out, err = run("bake", "model.safetensors", "nowhere.pt:0.7", "-o", "one.safetensors")
    assert (code, out) == (1, "")
    assert err.startswith("nowhere.pt: there is no such file.")


def in_the_folder() -> None:
    checkpoint(Path("model.safetensors"), TinyUNet())
    hypernet.save(network(seed=1), "ink.pt")


def test_lora_tells_what_is_lost_and_back_gives_a_network(run: Run) -> None:
    in_the_folder()
    code, out, _ = run("lora", "model.safetensors", "ink.pt:0.7", "--exact", "--full", "-o", "full.safetensors")
    assert code == 0
    assert "Lost of the change: 0.00%, on the weights" in out
    code, out, _ = run("lora", "model.safetensors", "full.safetensors", "--back", "-o", "back.pt", "--full")
    assert code == 0
    assert hypernet.load("back.pt").widths == (16, 24, 32)


def test_lora_tells_of_a_constant_that_it_leaves_out(run: Run) -> None:
    in_the_folder()
    command = ("lora", "model.safetensors", "ink.pt", "--exact", "-o", "full.safetensors", "--force")
    assert "V's constant is left out" not in run(*command)[2]
    assert "V's constant is left out" in run(*command, "--no-bias")[2]
    assert not any("diff_b" in name for name in load_file("full.safetensors"))


def test_lora_writes_nothing_over_the_limit_and_more_when_allowed(run: Run) -> None:
    in_the_folder()
    code, out, err = run("lora", "model.safetensors", "ink.pt", "--rank", "1", "-o", "lora.safetensors")
    assert code == 1
    assert "Lost of the change:" in out
    assert "over the limit of 10%" in err
    assert not Path("lora.safetensors").exists()
    assert run("lora", "model.safetensors", "ink.pt", "--rank", "1", "--limit", "1", "-o", "lora.safetensors")[0] == 0
    assert Path("lora.safetensors").exists()


def test_merge_says_exact_where_it_is_and_measures_where_it_is_not(run: Run) -> None:
    hypernet.save(network(seed=1), "one.pt")
    hypernet.save(network(seed=2), "two.pt")
    code, out, err = run("merge", "one.pt:0.7", "two.pt:0.4:k=0", "-o", "both.pt")
    assert (code, err) == (0, "")
    assert out.startswith("Exact.\n")
    x = torch.randn(1, 3, 16)
    one, two, both = (hypernet.load(f"{name}.pt").pairs[16] for name in ("one", "two", "both"))
    torch.testing.assert_close(both.v(x), two.v(one.v(x, 0.7), 0.4), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both.k(x), one.k(x, 0.7), atol=1e-4, rtol=1e-4)
    metadata = Metadata(activation_func="relu", activate_output=False, is_layer_norm=True)
    for seed, name in ((1, "norm1.pt"), (2, "norm2.pt")):
        hypernet.save(replace(network(seed=seed, kind="relu+ln"), metadata=metadata), name)
    code, out, err = run("merge", "norm1.pt", "norm2.pt", "-o", "mean.pt")
    assert code == 0
    assert "mean of weights" in out and "not measured" in out and "--checkpoint" in err


def test_merge_finds_the_networks_of_a_hns_file_beside_it(tmp_path: Path, run: Run) -> None:
    hypernet.save(network(seed=1), "one.pt")
    Path("mix.hns").write_text('["one", ("one", 0.5)]')
    assert run("merge", "mix.hns", "-o", "mix.safetensors")[0] == 0
    Path("other.hns").write_text('["nowhere"]')
    code, _, err = run("merge", "other.hns", "-o", "other.safetensors")
    assert code == 1
    assert "nowhere" in err


@pytest.mark.parametrize("options", [":1:lbw=MIDD", ":1:self=0", ":0@0,1@1", ":1:on=cond"])
def test_merge_refuses_what_no_network_can_hold(options: str, run: Run) -> None:
    hypernet.save(network(seed=1), "one.pt")
    code, _, err = run("merge", f"one.pt{options}", "-o", "two.pt")
    assert code == 1
    assert err.startswith("one.pt: ")
    assert run("merge", "one.pt", "-o", "one.pt", "--force")[0] == 1


DEMO = Path(hypernet.__file__).parent / "app" / "demo"
needs_demo = pytest.mark.skipif(
    not (DEMO / "weights" / "model_index.json").is_file() or not (DEMO / "hypernetworks").is_dir(),
    reason="the demo model is not trained yet",
)


@needs_demo
def test_a_network_with_an_activation_is_fitted_on_a_run_and_refused_when_it_is_too_far(run: Run) -> None:
    pytest.importorskip("diffusers")
    Path("prompts.txt").write_text("\n".join(f"a {c} {s}" for c in ("red", "blue", "green") for s in ("star", "moon")))
    ink = DEMO / "hypernetworks" / "ink.pt"
    command = ("lora", DEMO / "weights", ink, "--prompts", "prompts.txt", "-o", "ink.safetensors")
    code, out, err = run(*command)
    assert code == 1
    assert "on contexts of a run" in out
    assert "over the limit of 10%" in err
    assert run(*command, "--limit", "0.9")[0] == 0


@needs_demo
def test_a_merge_that_is_not_exact_is_measured_on_the_checkpoint(run: Run) -> None:
    pytest.importorskip("diffusers")
    Path("prompts.txt").write_text("a red star\na blue moon\na green circle")
    metadata = Metadata(activation_func="relu", activate_output=False, is_layer_norm=True)
    for seed, name in ((1, "norm1.pt"), (2, "norm2.pt")):
        made = network(seed=seed, kind="relu+ln", widths=(64, 80, 96, 128))
        hypernet.save(replace(made, metadata=metadata), name)
    command = ("merge", "norm1.pt:0.1", "norm2.pt:0.1", "-o", "mean.pt", "-c", DEMO / "weights")
    code, out, _ = run(*command, "--prompts", "prompts.txt")
    assert code == 0
    assert "mean of weights" in out and "not measured" not in out
    assert out.count("%") == 8


def test_reduce_tells_the_sizes_and_the_losses_and_stops_at_the_limit(run: Run) -> None:
    hypernet.save(network(seed=1), "ink.pt")
    code, out, _ = run("reduce", "ink.pt:0.5", "--only", "16", "--half", "-o", "small.pt")
    assert code == 0
    assert "16 → 16" in out and "kB now" in out
    x = torch.randn(1, 3, 16)
    wanted = hypernet.load("ink.pt").pairs[16].k(x, 0.5)
    small = hypernet.load("small.pt").pairs[16].k.to("cpu", torch.float32)
    torch.testing.assert_close(small(x), wanted, atol=1e-2, rtol=1e-2)
    code, _, err = run("reduce", "ink.pt", "--units", "0.1", "-o", "tiny.pt")
    assert code == 1
    assert "over the limit of 10%" in err
    assert not Path("tiny.pt").exists()
    assert run("reduce", "ink.pt", "--only", "768", "-o", "tiny.pt")[2].startswith("ink.pt: It has no width 768")
