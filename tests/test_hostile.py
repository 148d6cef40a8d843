"""No file runs code, ends the process, takes long or takes much memory. Each gives the one typed error."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import hypernet
from hypernet import UnreadableFile
from hypernet.files import peek
from tests import hostile
from tests.hostile import LARGE, network, table, tensor, text, zipped

FILES = hostile.corpus()
UNREAD = ("NaN", "infinite", "data in other letters")
"""`peek` does not read weights, so that it can't know of these."""

MIB = 1 << 20


@pytest.mark.parametrize("file", FILES)
def test_a_hostile_file_gives_the_typed_error(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.write_bytes(FILES[file])
    for mapped in (True, False):
        with pytest.raises(UnreadableFile) as caught:
            hypernet.load(path, mapped=mapped)
        message = str(caught.value)
        assert message.startswith(file)
        assert message.isprintable() and len(message) < 800
    if not any(word in file for word in UNREAD):
        with pytest.raises(UnreadableFile):
            peek(path)


def test_the_files_are_the_same_each_time() -> None:
    """So that a failure can be repeated."""
    assert hostile.corpus() == FILES


def test_the_files_that_a_fuzzer_starts_from_are_many_and_small() -> None:
    small = hostile.small()
    assert len(small) > 500
    assert sum(map(len, small.values())) < MIB


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux tells it")
def test_no_file_runs_code_or_takes_long_or_takes_much_memory() -> None:
    with tempfile.TemporaryDirectory() as name:  # not pytest's, which keeps the 300 MB for a while
        folder = Path(name)
        hostile.write(folder, FILES)
        for file, make in LARGE.items():
            (folder / file).write_bytes(make())
        command = [sys.executable, "-m", "tests.hostile_run", folder]
        run = subprocess.run(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, timeout=300, check=True)
        outcomes = json.loads(run.stdout)
        assert outcomes.keys() == FILES.keys() | LARGE.keys()
        for file, outcome in outcomes.items():
            assert outcome["error"] == "UnreadableFile", file
            assert outcome["events"] == [], file
            assert outcome["seconds"] < 2, file
            assert outcome["grown"] < 3 * (folder / file).stat().st_size + 8 * MIB, file
        assert not (folder / "PWNED").exists()


def test_the_good_file_the_hostile_ones_are_made_from_loads(tmp_path: Path) -> None:
    """Otherwise the hostile ones might be refused for another reason than the one in their name."""
    plain = hostile.plain_records()
    behind = struct.pack("<4s3L", b"PK\7\x08", zlib.crc32(bytes(256)), 256, 256)
    padded = hostile.record("a/version", b"3\n", extra=b"FB\x03\0ZZZ")
    good = (
        *(zipped(network()), hostile.legacy(network()), hostile.tensors(hostile.header())),
        hostile.by_hand(plain),
        hostile.by_hand(plain | {"a/data/0": hostile.record("a/data/0", bytes(256), flags=8, behind=behind)}),
        hostile.by_hand(plain | {"a/version": padded}),
        zipped(network(*[hostile.net(hostile.on_device())] * 2), None),
    )
    for number, data in enumerate(good):
        (tmp_path / f"{number}.pt").write_bytes(data)
        assert hypernet.load(tmp_path / f"{number}.pt").widths == (8,)


@pytest.mark.parametrize(
    "markup", ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "{{7*7}}", "../../x"]
)
def test_markup_in_a_text_is_only_text(tmp_path: Path, markup: str) -> None:
    """Whoever shows it escapes it. Here it is kept as it is."""
    keys = ("name", "sd_checkpoint", "sd_checkpoint_name", "optional_info", "weight_initialization", "another")
    path = tmp_path / "file.pt"
    path.write_bytes(zipped(network(None, None, *((text(key), text(markup)) for key in keys))))
    metadata = hypernet.load(path).metadata
    assert {metadata.name, metadata.optional_info, metadata.extra["another"]} == {markup}


def test_nobody_is_told_to_try_a_malicious_file_elsewhere(tmp_path: Path) -> None:
    lora = table((text("lora_unet_x.lora_down.weight"), hostile.SYSTEM))
    (tmp_path / "file.pt").write_bytes(zipped(lora))
    with pytest.raises(UnreadableFile, match="malicious"):
        hypernet.load(tmp_path / "file.pt")


@pytest.mark.parametrize("make", [zipped, hostile.legacy], ids=["zip", "not zip"])
def test_a_checkpoint_with_parts_of_its_trainer_is_still_recognised(
    tmp_path: Path, make: Callable[[bytes], bytes]
) -> None:
    trainer = hostile.call("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    weights = table((text("model.diffusion_model.out.2.bias"), tensor()))
    (tmp_path / "file.pt").write_bytes(make(table((text("callbacks"), trainer), (text("state_dict"), weights))))
    with pytest.raises(UnreadableFile, match="models/Stable-diffusion"):
        hypernet.load(tmp_path / "file.pt")


def test_k_and_v_may_share_their_numbers(tmp_path: Path) -> None:
    shared = table((text("linear.0.weight"), tensor()))
    (tmp_path / "file.pt").write_bytes(zipped(network(shared, shared)))
    assert hypernet.load(tmp_path / "file.pt").parameters == 128


def test_instructions_that_do_no_harm_are_allowed(tmp_path: Path) -> None:
    """Other Pythons and other programs write DUP, POP, POP_MARK, MEMOIZE, FRAME and older forms of texts."""
    named = text("other") + b"\x942" + b"00" + b"(" + text("other") + b"1" + b"U\x03ink"
    frame = b"\x95" + (10).to_bytes(8, "little")
    (tmp_path / "file.pt").write_bytes(zipped(frame + network(None, None, (text("name"), named)), protocol=4))
    assert hypernet.load(tmp_path / "file.pt").metadata.name == "ink"
