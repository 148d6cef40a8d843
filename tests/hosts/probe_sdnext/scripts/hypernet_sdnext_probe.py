"""An extension for tests only: what a running SD.Next makes of a tag, against the plain formula by hooks of its own.

`parity`: one UNet call, with the UNet as each kind that the host can make of it. `carry`: whole pictures.
"""

import copy
from types import SimpleNamespace

import torch
from modules import extra_networks, modeldata, script_callbacks, shared


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
    return sum(
        len(m._forward_pre_hooks) + (type(m.__dict__.get("forward")).__name__ == "ForwardPatch") for m in modules
    )


def formula(unet, path, strength, active=lambda: True):
    """x + s f(x) before each projection, by plain modules: linear layers, ReLU between them where there is a gap.

    active: tells at each call whether the formula acts.
    """
    file = torch.load(path, map_location="cpu", weights_only=True)
    handles = []
    for name, module in unet.named_modules():
        if not name.endswith((".to_k", ".to_v")) or module.in_features not in file:
            continue
        state = file[module.in_features][name.endswith("to_v")]
        steps = sorted({int(key.split(".")[1]) for key in state})
        relu = steps[1] - steps[0] > 1

        def before(module, args, state=state, steps=steps, relu=relu):
            if not active():
                return None
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
calls = [0]
broken = []


def unets():
    pipes = (shared.sd_model, modeldata.model_data.sd_refiner)
    return [pipe.unet for pipe in pipes if getattr(pipe, "unet", None) is not None]


def carry(parts: list[tuple[str, float, int, int]]):
    """Counts UNet calls from 0; the UNets' own attention carries the plain formula of each part while it lasts.

    parts: name of a network, strength, from which call, to before which.
    """
    while carried:
        carried.pop().remove()
    calls[0] = 0

    def called(*args):
        calls[0] += 1

    for unet in unets():
        carried.append(unet.register_forward_hook(called))
        for name, strength, start, stop in parts:
            active = lambda start=start, stop=stop: start <= calls[0] < stop  # noqa: E731
            carried.extend(formula(unet, shared.hypernetworks[name], strength, active))
    return {"hooks": len(carried)}


def fail(kind: str = ""):
    """From now on the UNet's middle raises this built-in exception; without a name, none."""
    while broken:
        broken.pop().remove()

    def raises(*args):
        raise {"RuntimeError": RuntimeError, "ValueError": ValueError, "KeyError": KeyError}[kind]("a test's")

    if kind:
        broken.append(shared.sd_model.unet.mid_block.register_forward_pre_hook(raises))


class Detector:
    """What the host takes for a YOLO model: it sees something in the left half of every picture, and in the right."""

    def to(self, device):
        return self

    def predict(self, source, **how):
        width, height = source[0].size
        half = width // 2
        boxes = SimpleNamespace(
            xyxy=torch.tensor([[0, 0, half, height], [half, 0, width, height]]),
            conf=torch.tensor([0.9, 0.8]),
            cls=torch.tensor([0, 0]),
        )
        return [SimpleNamespace(boxes=boxes, masks=None, names={0: "half"})]


def cards():
    page = next(page for page in shared.extra_networks if page.title == "Hypernetwork")
    return {"html": page.create_page("txt2img"), "items": [item["prompt"] for item in page.items]}


def state():
    return {
        "ready": shared.sd_model is not None,
        "hooks": sum(hooks(unet) for unet in unets()),
        "calls": calls[0],
        "refiner": modeldata.model_data.sd_refiner is not None,
    }


def routes(demo, app):
    shared.detailer.models["hypernet-probe"] = Detector()
    app.add_api_route("/probe/state", state, methods=["GET"])
    app.add_api_route("/probe/parity", parity, methods=["GET"])
    app.add_api_route("/probe/formula", carry, methods=["POST"])
    app.add_api_route("/probe/fail", fail, methods=["GET"])
    app.add_api_route("/probe/cards", cards, methods=["GET"])


script_callbacks.on_app_started(routes)
