"""An extension for tests only: lets them look into a running A1111, and makes scripts fail on demand."""

import sys
import weakref

from modules import script_callbacks, scripts, shared

fail = {"in": ""}
last = {"comments": "", "reserved": []}
reserved = []
"""For each step, the bytes that the UNet's patcher asks the host's memory management to leave free."""
formula = {"first": [], "hires": [], "pass": "first", "hooks": [], "unet": lambda: None}
"""unet: what carries the formula, as a weak reference: a host must be able to let go of it for a refiner."""


class Probe(scripts.Script):
    def title(self):
        return "Hypernet probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def process_before_every_sampling(self, p, *args, **kwargs):
        if fail["in"] == "interrupt":
            shared.state.interrupted = True

    def before_hr(self, p, *args):
        formula["pass"] = "hires"

    def process_batch(self, p, *args, **kwargs):
        formula["pass"] = "first"
        if fail["in"] == "disable":
            p.disable_extra_networks = True

    def postprocess(self, p, processed, *args):
        last.update(comments=processed.comments, reserved=list(reserved))
        reserved.clear()


def unet():
    """The UNet that is drawn with now; None before a model is loaded."""
    objects = getattr(shared.sd_model, "forge_objects", None)
    model = getattr(shared.sd_model, "model", None) if objects is None else getattr(objects.unet, "model", None)
    return getattr(model, "diffusion_model", None)


def projections():
    """Name -> to_k or to_v."""
    model = unet()
    found = [] if model is None else list(model.named_modules())
    return {f"{name}.{part}": getattr(m, part) for name, m in found if hasattr(m, "to_k") for part in ("to_k", "to_v")}


def set_formula(body: dict):
    """body: what the host's own attention carries from now on, in its first and in its hires pass.

    Each is a list of [path, strength]; two empty ones end it.
    """
    import hypernet

    for handle in formula["hooks"]:
        handle.remove()
    networks = {of: [(hypernet.load(path), strength) for path, strength in body[of]] for of in ("first", "hires")}
    formula.update(networks, hooks=[], unet=lambda: None)
    return {}


def carry_formula():
    if (formula["first"] or formula["hires"]) and formula["unet"]() is not unet():
        formula["unet"] = weakref.ref(unet())
        formula["hooks"] += [
            projection.register_forward_pre_hook(plain_formula(name[-1])) for name, projection in projections().items()
        ]


def plain_formula(which):
    def before(module, args):
        x = args[0]
        for network, strength in formula[formula["pass"]]:
            pair = network.pairs.get(x.shape[-1])
            if pair is not None:
                net = getattr(pair, which).to(x.device, x.dtype)
                x = x + strength * net.delta(x)
        return (x, *args[1:])

    return before


def denoiser(params):
    carry_formula()
    patcher = getattr(getattr(shared.sd_model, "forge_objects", None), "unet", None)
    reserved.append(getattr(patcher, "extra_preserved_memory_during_sampling", None))
    if fail["in"] == "sampling":  # the host catches what a callback raises
        stumble = unet().register_forward_pre_hook(lambda *args: (stumble.remove(), 1 / 0))


def lora_name(name, module):
    """How a LoRA calls a projection."""
    return getattr(module, "network_layer_name", None) or "lora_unet_" + name.replace(".", "_")


def state():
    found = projections()
    hooked = [] if unet() is None else [unet(), *found.values()]
    return {
        "hooks": sum(len(m._forward_pre_hooks) + ("forward" in m.__dict__) for m in hooked),
        "native": len(getattr(shared, "loaded_hypernetworks", [])),
        "shapes": {lora_name(name, m): list(m.weight.shape) for name, m in found.items()},
        "widths": sorted({m.in_features for m in found.values()}),
        "callbacks": sum(
            "hypernet/" in c.script.replace("\\", "/") and "probe" not in c.script
            for all_ in script_callbacks.callback_map.values()
            for c in all_
        ),
        "axes": sum(
            option.label.startswith("[Hypernet]")
            for data in scripts.scripts_data
            for option in getattr(data.module, "axis_options", [])
        )
        if hasattr(scripts.scripts_data[0], "module")
        else 0,
        "always": sum(type(s).__module__ == "hypernetworks.py" for s in scripts.scripts_txt2img.alwayson_scripts),
        "pages": [page.name for page in sys.modules["modules.ui_extra_networks"].extra_pages],
        "published": dict(getattr(shared, "hypernetworks", {})),
        "sd_hypernetwork": getattr(shared.opts, "sd_hypernetwork", None),
    }


def set_fail(where: str = ""):
    fail["in"] = where
    return fail


def comments():
    """What was shown under the last picture, which the host's API leaves out, and what was reserved for it."""
    return last


def reload_ui():
    shared.state.server_command = "restart"
    return {}


def paste(text: dict):
    from modules import infotext_utils

    params = infotext_utils.parse_generation_parameters(text["text"])
    script_callbacks.infotext_pasted_callback(text["text"], params)
    return params


def card(name: str = ""):
    page = next(p for p in sys.modules["modules.ui_extra_networks"].extra_pages if p.name == "hypernetworks")
    return {"html": page.create_html("txt2img")}


def routes(demo, app):
    app.add_api_route("/probe/state", state, methods=["GET"])
    app.add_api_route("/probe/comments", comments, methods=["GET"])
    app.add_api_route("/probe/fail", set_fail, methods=["POST"])
    app.add_api_route("/probe/formula", set_formula, methods=["POST"])
    app.add_api_route("/probe/reload", reload_ui, methods=["POST"])
    app.add_api_route("/probe/paste", paste, methods=["POST"])
    app.add_api_route("/probe/cards", card, methods=["GET"])


script_callbacks.on_app_started(routes)
script_callbacks.on_cfg_denoiser(denoiser)
