"""Makes the demo model and its three hypernetworks from nothing: `python tools/train_demo.py`.

About an hour and a half on two cores. Each stage can be run alone, and goes on from the files of the one before:
    vae         pictures to latents and back
    base        text encoder and UNet on drawn pictures
    networks    disperse, ink and water, on the frozen base
    publish     into the package: hypernet/app/demo/weights and hypernet/app/demo/hypernetworks
    evaluate    200 held-out prompts, time per picture, distance over strength
    strip       docs/images/strip.png

The weights in the repository come from these stages, but were trained in pieces while the effects were still being
drawn (the autoencoder saw finer dust and simpler water): another run gives a model like it, not the same bits.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""
sys.path.insert(0, str(ROOT))

from hypernet.app.demo import WEIGHTS  # noqa: E402
from tools.demo_training import autoencoder, base, measure, networks  # noqa: E402


def publish(work: Path) -> None:
    """Copies what was trained into the package."""
    shutil.copytree(work / "pipeline", WEIGHTS, dirs_exist_ok=True)
    networks.publish(work)


STAGES: dict[str, Callable[[Path], None]] = {
    "vae": autoencoder.train_vae,
    "base": base.train_base,
    "networks": networks.train_networks,
    "publish": publish,
    "evaluate": lambda work: measure.evaluate(),
    "strip": lambda work: measure.strip(ROOT / "docs" / "images" / "strip.png"),
}
"""Name -> what is done in the work folder."""


def main() -> None:
    """Runs the stages that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=["all", *STAGES], default="all")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "demo", help="where the stages keep their files")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for name, stage in STAGES.items():
        if given.stage in ("all", name):
            stage(given.work)


if __name__ == "__main__":
    main()
