"""An extension for tests only: one UNet call of a running SD.Next with our hooks, against the plain formula.

The UNet is put in place as each kind that the host can make of it: as it is, quantised, offloaded, fused, compiled.
"""

import copy
from types import SimpleNamespace

import torch
from modules import extra_networks, script_callbacks, shared


def twin(unet):
    """Modules and parameters of its own over the same memory."""
    memory = {id(p): torch.nn.Parameter(p.detach(), requires_grad=False) for p in unet.parameters()}
    return copy.deepcopy(unet, memory)


def kinds(unet, kind):
    """A UNet of that kind. Only the kinds that change it work on a copy."""
    if kind == "quantised":
        from modules.sdnq.quantizer import sdnq_post_load_quant

        made = sdnq_post_load_quant(twin(unet), weights_dtype="int8")
        return made[0] if isinstance(made, tuple) else made
    if kind == "sequential":
        from accelerate import cpu_offload

        return cpu_offload(twin(unet), torch.device("cpu"))
    if kind == "fused":
        made = twin(unet)
        made.fuse_qkv_projections()
        return made
    if kind == "compiled":
        return torch.compile(unet)
    return None if kind == "none" else unet


def hooks(unet):
    modules = [m for n, m in unet.named_modules() if n == "" or n.endswith((".to_k", ".to_v"))]
    return sum(len(m._forward_pre_hooks) + (type(m.__dict__.get("forward")).__name__ == "StandIn") for m in modules)


def formula(unet, path, strength):
    """x + s f(x) before each projection, by plain modules: linear layers, ReLU between them where there is a gap."""
    file = torch.load(path, map_location="cpu", weights_only=True)
    handles = []
    for name, module in unet.named_modules():
        if not name.endswith((".to_k", ".to_v")) or module.in_features not in file:
            continue
        state = file[module.in_features][name.endswith("to_v")]
        steps = sorted({int(key.split(".")[1]) for key in state})
        relu = steps[1] - steps[0] > 1

        def before(module, args, state=state, steps=steps, relu=relu):
            out = args[0]
            for place, step in enumerate(steps):
                weight, bias = (state[f"linear.{step}.{part}"].to(out) for part in ("weight", "bias"))
                out = torch.nn.functional.linear(out, weight, bias)
                if relu and place < len(steps) - 1:
                    out = torch.relu(out)
            return (args[0] + strength * out,)

        handles.append(module.register_forward_pre_hook(before))
    return handles


def difference(a, b):
    return float((a - b).abs().max())


@torch.inference_mode()
def parity(name: str = "", strength: float = 1.0, kind: str = ""):
    pipe = shared.sd_model
    original = pipe.unet
    handler = extra_networks.extra_network_registry["hypernet"]
    p = SimpleNamespace(
        extra_generation_params={}, all_prompts=[""], network_data={}, enable_hr=False, is_hr_pass=False,
        is_refiner_pass=False, disable_extra_networks=False,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    sample, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 77, 768, generator=generator)
    pipe.scheduler.set_timesteps(2)
    unet = kinds(original, kind)
    pipe.register_modules(unet=unet)
    try:
        script_callbacks.before_process_callback(p)
        handler.activate(p, [extra_networks.ExtraNetworkParams([name, str(strength)])], step=0)
        if kind in ("none", "fused", "compiled"):
            return {"notes": p.extra_generation_params.get("Hypernet notes"), "hooks": hooks(original)}

        def call():
            return unet(sample, pipe.scheduler.timesteps[0], context, return_dict=False)[0].float()

        attached, ours = hooks(unet), call()
        handler.deactivate(p, force=False)
        kept = hooks(unet)
        script_callbacks.after_process_callback(p)
        left, plain = hooks(unet), call()
        handles = formula(unet, shared.hypernetworks[name], strength)
        expected = call()
        for handle in handles:
            handle.remove()
        return {
            "attached": attached,
            "kept": kept,
            "left": left,
            "scale": float(expected.abs().max()),
            "error": difference(ours, expected),
            "effect": difference(plain, expected),
            "notes": p.extra_generation_params.get("Hypernet notes"),
            "hashes": p.extra_generation_params.get("Hypernet hashes"),
        }
    finally:
        script_callbacks.after_process_callback(p)
        pipe.register_modules(unet=original)


carried = []


def carry(name: str = "", strength: float = 1.0):
    """From now on the UNet's own attention carries the plain formula of this network; without a name, none."""
    while carried:
        carried.pop().remove()
    if name:
        carried.extend(formula(shared.sd_model.unet, shared.hypernetworks[name], strength))
    return {"hooks": len(carried)}


def cards():
    page = next(page for page in shared.extra_networks if page.title == "Hypernetwork")
    return {"html": page.create_page("txt2img"), "items": [item["prompt"] for item in page.items]}


def state():
    return {"ready": shared.sd_model is not None, "hooks": hooks(shared.sd_model.unet)}


def routes(demo, app):
    app.add_api_route("/probe/state", state, methods=["GET"])
    app.add_api_route("/probe/parity", parity, methods=["GET"])
    app.add_api_route("/probe/formula", carry, methods=["GET"])
    app.add_api_route("/probe/cards", cards, methods=["GET"])


script_callbacks.on_app_started(routes)
