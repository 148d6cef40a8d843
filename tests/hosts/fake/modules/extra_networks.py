import re
import traceback
from collections import defaultdict

extra_network_registry = {}


class ExtraNetworkParams:
    def __init__(self, items):
        self.items = items


class Native:
    name = "hypernet"

    def activate(self, p, params_list):
        from modules.hypernetworks import hypernetwork

        names = [params.items[0] for params in params_list]
        strengths = [float(params.items[1]) if len(params.items) > 1 else 1.0 for params in params_list]
        hypernetwork.load_hypernetworks(names, strengths)

    def deactivate(self, p):
        pass


def initialize():
    extra_network_registry.clear()
    register_extra_network(Native())


def register_extra_network(extra_network):
    extra_network_registry[extra_network.name] = extra_network


def each(p, data, method):
    for name, extra_network in extra_network_registry.items():
        try:
            method(extra_network, data.get(name, []))
        except Exception:
            traceback.print_exc()


def activate(p, data):
    each(p, data, lambda network, params: network.activate(p, params))


def deactivate(p, data):
    each(p, data, lambda network, params: network.deactivate(p))


def parse_prompts(prompts):
    data = None
    texts = []
    for prompt in prompts:
        found = defaultdict(list)
        for name, text in re.findall(r"<(\w+):([^>]+)>", prompt):
            found[name].append(ExtraNetworkParams(text.split(":")))
        texts.append(re.sub(r"<\w+:[^>]+>", "", prompt))
        data = found if data is None else data
    return texts, data
