"""Days in a host, in minutes: random pictures while files, models and the UI change under them.

    HYPERNET_A1111=FOLDER python -m tests.hosts.soak --pictures 1000 --report soak.json

Tags are valid, broken, missing or malformed; up to three requests at a time. In between, files are replaced, added,
taken away and renamed, runs are interrupted and fail, models change and the UI reloads, while another reader asks the
API. Memory, file handles, threads and hooks are counted from outside. In the end a fresh process draws pictures
again, with the files that they had: they must be equal to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypernet
from tests.hostile import small
from tests.hosts import nets
from tests.hosts.real import Picture, RealHost, running

STEADY = ("t-linear", "t-norm", "t-swish", "t-text", "t-safe")
CHANGING = ("c-0", "c-1", "c-2")
OPTIONS = ("", "", ":start=0.5", ":k=0.5", ":cross=0", ":on=cond", ":lbw=OUTALL")
STRENGTHS = ("1", "0.7", "-0.3", "0", "0.5@0,1@1")
WRONG = (
    "<hypernet:t-broken:1>",
    "<hypernet:no such file:1>",
    "<hypernet:t-linear:0,7>",
    "<hypernet:t-linear:nan>",
    "<hypernet:t-linear:1:wobble=2>",
    "<hypernet::1>",
    "<hypernet:../../etc/passwd:1>",
    "<hypernet:<img src=x onerror=alert(1)>:1>",
)
TOLD = "\nHypernetworks: "
"""How the console begins a sentence about a tag."""
EVENTS = {"replace": 0.06, "add": 0.05, "remove": 0.05, "rename": 0.03, "interrupt": 0.03, "sampling": 0.02}
"""How often, per turn. Models and the UI change a fixed number of times."""


@dataclass(frozen=True)
class Wish:
    """A picture to ask for. seeds: of the changing networks at that time."""

    prompt: str
    seed: int
    model: str
    seeds: tuple[tuple[str, int], ...]
    wrong: bool


@dataclass
class Report:
    pictures: int = 0
    failed: list[str] = field(default_factory=list)
    provoked: int = 0
    untold: list[str] = field(default_factory=list)
    told_needlessly: list[str] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    readings: int = 0
    samples: list[dict[str, int]] = field(default_factory=list)
    tracebacks: str = ""
    compared: int = 0
    unequal: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def growth(self) -> dict[str, tuple[float, float]]:
        """Of each count, the median in the second and in the last quarter."""
        quarter = max(len(self.samples) // 4, 1)
        second, last = self.samples[quarter : 2 * quarter] or self.samples, self.samples[-quarter:]
        return {
            key: (statistics.median(s[key] for s in second), statistics.median(s[key] for s in last))
            for key in (self.samples or [{}])[0]
        }


class Soak:
    def __init__(self, host: RealHost, seed: int, plain: bool = False) -> None:
        """plain: no tag is ever asked for, to see what the host grows by itself."""
        self.plain = plain
        self.host, self.random, self.report = host, random.Random(seed), Report()
        self.drawn: list[tuple[Wish, Picture]] = []
        self.seeds: dict[str, int] = {}
        self.models = [str(model["title"]) for model in host.call("/sdapi/v1/sd-models")]
        self.model = self.models[0]
        self.extra = 0
        self.widths = host.state()["widths"]

    def files(self) -> None:
        nets.write(self.host.folder, self.widths)
        for name in CHANGING:
            self.change(name)
        for file, content in self.random.sample(sorted(small().items()), 40):
            (self.host.folder / f"hostile {file}").write_bytes(content)

    def change(self, name: str) -> None:
        """Another network under the same name."""
        self.seeds[name] = self.random.randrange(100, 1000)
        write_changing(self.host.folder, name, self.seeds[name], self.widths)

    def run(self, pictures: int, reloads: int, switches: int) -> None:
        self.files()
        self.host.set({"sd_model_checkpoint": self.model})
        every = {"reload": max(pictures // (reloads + 1), 1), "switch": max(pictures // (switches + 1), 1)}
        done = dict.fromkeys(every, 0)
        with ThreadPoolExecutor(3) as clients:
            while self.report.pictures < pictures:
                for event, rate in EVENTS.items():
                    if self.random.random() < rate:
                        self.happen(event)
                for event, period in every.items():
                    if self.report.pictures // period > done[event]:
                        done[event] += 1
                        self.happen(event)
                wishes = [self.wish() for _ in range(self.random.choice((1, 1, 2, 3)))]
                said_before = self.host.log.read_text(errors="replace").count(TOLD)
                for wish, picture in zip(wishes, clients.map(self.ask, wishes), strict=True):
                    self.judge(wish, picture)
                said = self.host.log.read_text(errors="replace").count(TOLD) > said_before
                if said != any(wish.wrong for wish in wishes):
                    about = self.report.told_needlessly if said else self.report.untold
                    about.append(" | ".join(wish.prompt for wish in wishes))
                if not self.report.samples or self.report.pictures - self.report.samples[-1]["picture"] >= 20:
                    self.report.samples.append(self.count())

    def wish(self) -> Wish:
        names = self.random.sample([*STEADY, *CHANGING], self.random.choice((0, 1, 1, 2, 3)))
        tags = [f"<hypernet:{n}:{self.random.choice(STRENGTHS)}{self.random.choice(OPTIONS)}>" for n in names]
        wrong = self.random.random() < 0.3
        if wrong:
            tags.insert(self.random.randint(0, len(tags)), self.random.choice(WRONG))
        if self.plain:
            tags, wrong = [], False
        prompt = " ".join(["a cat", *tags])
        return Wish(prompt, self.random.randrange(5), self.model, tuple(sorted(self.seeds.items())), wrong)

    def ask(self, wish: Wish) -> Picture | Exception:
        try:
            return self.host.draw(wish.prompt, seed=wish.seed, steps=1)
        except (OSError, ValueError, KeyError) as error:
            return error

    def judge(self, wish: Wish, picture: Picture | Exception) -> None:
        self.report.pictures += 1
        if isinstance(picture, Exception):
            self.report.failed.append(f"{wish.prompt}: {picture!r}")
            return
        self.drawn.append((wish, picture))

    def happen(self, event: str) -> None:
        self.report.events[event] = self.report.events.get(event, 0) + 1
        folder = self.host.folder
        if event == "replace":
            self.change(self.random.choice(CHANGING))
        elif event == "add":
            self.extra += 1
            hypernet.save(nets.network([768], self.extra), folder / f"extra-{self.extra}.pt")
        elif event in ("remove", "rename"):
            for file in list(folder.glob("extra-*"))[:1]:
                file.unlink() if event == "remove" else file.rename(folder / f"renamed-{file.name}")
        elif event == "switch":
            self.model = self.models[(self.models.index(self.model) + 1) % len(self.models)]
            self.host.set({"sd_model_checkpoint": self.model})
        elif event == "reload":
            self.host.reload()
        else:
            self.host.fail(event)
            result = self.ask(self.wish())
            self.host.fail("")
            self.report.provoked += isinstance(result, Exception)

    def count(self) -> dict[str, int]:
        """Taken from the system where it knows."""
        process = Path(f"/proc/{self.pid()}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        state = self.host.state()
        return {
            "picture": self.report.pictures,
            "resident MB": int(status["VmRSS"].split()[0]) // 1024,
            "handles": len(list((process / "fd").iterdir())),
            "threads": int(status["Threads"]),
            "hooks": state["hooks"],
            "callbacks": state["callbacks"],
        }

    def pid(self) -> int:
        """Of the process that has the host's port in its command line."""
        wanted = f"--port\0{self.host.port}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (process / "cmdline").read_bytes():
                    return int(process.name)
            except OSError:
                continue
        raise ProcessLookupError(self.host.port)

    def read_all_the_time(self, stop: threading.Event) -> None:
        """Another user's browser: the list, a network, a refresh, cards."""
        asks: list[tuple[str, Any, str]] = [
            ("/hypernet/v1/networks", None, "GET"),
            ("/hypernet/v1/networks/t-linear", None, "GET"),
            ("/hypernet/v1/refresh", {}, "POST"),
            ("/sdapi/v1/hypernetworks", None, "GET"),
            ("/probe/cards", None, "GET"),
        ]
        while not stop.wait(1):
            path, body, method = asks[self.report.readings % len(asks)]
            try:
                self.host.call(path, body, method, timeout=120)
                self.report.readings += 1
            except urllib.error.HTTPError as error:
                if error.code != 404:  # as long as a reload has not brought the routes back
                    self.report.failed.append(f"{path}: {error}")
            except OSError:
                pass  # the UI reloads


def write_changing(folder: Path, name: str, seed: int, widths: list[int]) -> None:
    kind = (None, "relu")[seed % 2]
    hypernet.save(nets.network(widths, seed, kind, norm=seed % 3 == 0), folder / f"{name}.pt", overwrite=True)


def compare(root: Path, drawn: list[tuple[Wish, Picture]], report: Report, chosen: random.Random, count: int) -> None:
    """Draws some again in a fresh process, in another order."""
    sample = chosen.sample(drawn, min(count, len(drawn)))
    with running(root) as host:
        widths = host.state()["widths"]
        nets.write(host.folder, widths)
        for wish, picture in sorted(sample, key=lambda pair: pair[0].model):
            host.set({"sd_model_checkpoint": wish.model})
            for name, seed in wish.seeds:
                write_changing(host.folder, name, seed, widths)
            report.compared += 1
            if not (host.draw(wish.prompt, seed=wish.seed, steps=1).pixels == picture.pixels).all():
                report.unequal.append(wish.prompt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--reloads", type=int, default=8)
    parser.add_argument("--switches", type=int, default=6)
    parser.add_argument("--compare", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="the same without tags: what the host does by itself")
    parser.add_argument("--report", type=Path, default=Path("soak.json"))
    options = parser.parse_args()
    root = Path(os.environ["HYPERNET_A1111"])
    begin, stop = time.monotonic(), threading.Event()
    with running(root) as host:
        soak = Soak(host, options.seed, options.plain)
        reader = threading.Thread(target=soak.read_all_the_time, args=(stop,))
        reader.start()
        try:
            soak.run(options.pictures, options.reloads, options.switches)
        finally:
            stop.set()
            reader.join()
            soak.report.tracebacks = "\n".join(part for part in host.tracebacks().split("\n\n") if "/hypernet/" in part)
            soak.report.seconds = time.monotonic() - begin
            options.report.write_text(json.dumps({**vars(soak.report), "growth": soak.report.growth()}, indent=1))
    compare(root, soak.drawn, soak.report, soak.random, options.compare)
    found = {**vars(soak.report), "growth": soak.report.growth()}
    options.report.write_text(json.dumps(found, indent=1))
    print(json.dumps({key: value for key, value in found.items() if key != "samples"}, indent=1))


if __name__ == "__main__":
    main()
