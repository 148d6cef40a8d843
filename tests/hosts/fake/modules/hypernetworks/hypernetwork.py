"""The native engine: the plain formula, in every attention layer."""

from pathlib import Path

import hypernet
from modules import shared


def list_hypernetworks(path):
    return {file.stem: str(file) for file in sorted(Path(path).glob("**/*.pt"))}


class Loaded:
    def __init__(self, name, strength):
        self.name, self.strength = name, strength
        self.network = hypernet.load(shared.hypernetworks[name])


def load_hypernetworks(names, strengths):
    pairs = zip(names, strengths, strict=True)
    shared.loaded_hypernetworks[:] = [Loaded(*pair) for pair in pairs if pair[0] in shared.hypernetworks]


def apply(context):
    k = v = context
    for loaded in shared.loaded_hypernetworks:
        pair = loaded.network.pairs.get(context.shape[-1])
        if pair is not None:
            k, v = pair.k(k, loaded.strength), pair.v(v, loaded.strength)
    return k, v
