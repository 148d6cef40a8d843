"""An extension for tests only: lets them look into a running A1111, and makes scripts fail on demand."""

import sys

from modules import script_callbacks, scripts, shared

fail = {"in": ""}


class Probe(scripts.Script):
    def title(self):
        return "Hypernet probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def process_before_every_sampling(self, p, *args, **kwargs):
        if fail["in"] == "interrupt":
            shared.state.interrupted = True

    def process_batch(self, p, *args, **kwargs):
        if fail["in"] == "disable":
            p.disable_extra_networks = True


def denoiser(params):
    if fail["in"] == "sampling":  # the host catches what a callback raises, so the sampler itself must stumble
        params.x = None


def state():
    unet = shared.sd_model.model.diffusion_model
    attentions = [m for m in unet.modules() if hasattr(m, "to_k") and hasattr(m, "to_v")]
    projections = [projection for m in attentions for projection in (m.to_k, m.to_v)]
    return {
        "hooks": sum(len(m._forward_pre_hooks) + ("forward" in m.__dict__) for m in [unet, *projections]),
        "native": len(getattr(shared, "loaded_hypernetworks", [])),
        "shapes": {m.network_layer_name: list(m.weight.shape) for m in projections if hasattr(m, "network_layer_name")},
        "widths": sorted({m.in_features for m in projections}),
        "callbacks": sum(
            "hypernet/" in c.script.replace("\\", "/") and "probe" not in c.script
            for _, all_ in script_callbacks.enumerate_callbacks()
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
    app.add_api_route("/probe/fail", set_fail, methods=["POST"])
    app.add_api_route("/probe/reload", reload_ui, methods=["POST"])
    app.add_api_route("/probe/paste", paste, methods=["POST"])
    app.add_api_route("/probe/cards", card, methods=["GET"])


script_callbacks.on_app_started(routes)
script_callbacks.on_cfg_denoiser(denoiser)
