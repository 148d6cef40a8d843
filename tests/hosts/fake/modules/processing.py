"""txt2img and img2img on a tiny UNet, with the calls that the host makes on the way."""

from types import SimpleNamespace

import numpy as np
import torch

from modules import extra_networks, script_callbacks, scripts, shared


class Processing:
    def __init__(self, **request):
        self.batch_size = self.n_iter = 1
        self.enable_hr = self.is_hr_pass = self.disable_extra_networks = False
        self.negative_prompt = ""
        self.hr_prompt, self.cfg_scale, self.seed, self.steps = "", 5.0, 1, 2
        self.override_settings = {}
        self.refiner_checkpoint, self.refiner_switch_at = None, 1.0
        vars(self).update(request)
        self.all_prompts = None
        self.comments, self.extra_generation_params = {}, {}

    @property
    def sd_model(self):
        return shared.sd_model

    def comment(self, text):
        self.comments[text] = 1

    def close(self):
        pass


def process_images(p):
    scripts.call("before_process", p)
    stored = {key: shared.opts.data[key] for key in p.override_settings if key in shared.opts.data}
    shared.opts.data.update(p.override_settings)
    first_model = shared.sd_model
    try:
        with torch.no_grad():
            return _process(p)
    finally:
        shared.opts.data.update(stored)
        shared.sd_model = first_model
        shared.state.interrupted = False


def _process(p):
    count = p.batch_size * p.n_iter
    p.all_prompts = p.prompt if isinstance(p.prompt, list) else [p.prompt] * count
    p.all_negative_prompts = [p.negative_prompt] * count
    p.all_hr_prompts = [p.hr_prompt or p.all_prompts[0]] * count
    scripts.call("process", p)
    pictures, infotexts = [], []
    for n in range(p.n_iter):
        p.iteration = n
        p.prompts = p.all_prompts[n * p.batch_size : (n + 1) * p.batch_size]
        scripts.call("before_process_batch", p, batch_number=n)
        p.prompts, p.extra_network_data = extra_networks.parse_prompts(p.prompts)
        if not p.disable_extra_networks:
            extra_networks.activate(p, p.extra_network_data)
        scripts.call("process_batch", p, batch_number=n)
        x = _noise(p, n)
        if getattr(p, "init_images", None):
            x = x * p.denoising_strength
        x = _pass(p, x, p.prompts[0])
        if p.enable_hr:
            p.is_hr_pass = True
            hr_prompts, data = extra_networks.parse_prompts(p.all_hr_prompts[:1])
            extra_networks.activate(p, data)
            x = _pass(p, x.repeat_interleave(2, 1), hr_prompts[0])
            p.is_hr_pass = False
        scripts.call("postprocess_batch", p, x, batch_number=n)
        for each in x:
            pictures.append(((each.tanh() + 1) * 127.5).numpy().astype(np.uint8)[..., :3].reshape(1, -1, 3))
            params = "".join(f', {key}: "{value}"' for key, value in p.extra_generation_params.items())
            infotexts.append(f"{p.all_prompts[n * p.batch_size]}\nSteps: {p.steps}, Seed: {p.seed}{params}")
    if p.extra_network_data:
        extra_networks.deactivate(p, p.extra_network_data)
    processed = SimpleNamespace(images=pictures, infotexts=infotexts, comments="".join(f"{c}\n" for c in p.comments))
    scripts.call("postprocess", p, processed)
    return processed


def _noise(p, n):
    generator = torch.Generator().manual_seed(p.seed + n)
    return torch.randn(p.batch_size, 32, 16, generator=generator)


def _text(prompt):
    """(77, 768) that depends on the prompt and nothing else."""
    generator = torch.Generator().manual_seed(sum(prompt.strip().encode()))
    return torch.randn(77, 768, generator=generator)


def _pass(p, x, prompt):
    scripts.call("process_before_every_sampling", p, x=x)
    conds = [_text(part) for part in prompt.split(" AND ")]
    denoiser = SimpleNamespace(p=p, step=0, total_steps=p.steps, sampler=None)
    for step in range(p.steps):
        if shared.state.interrupted:
            break
        denoiser.step = step
        if p.refiner_checkpoint and step / p.steps >= p.refiner_switch_at:
            _load(p.refiner_checkpoint)
        x = x - 0.5 / p.steps * _guided(p, denoiser, x, conds)
    return x


def _guided(p, denoiser, x, conds):
    each, batch = len(conds), x.shape[0]
    text = torch.stack([*conds] * batch)
    uncond = torch.stack([_text("dull")] * batch)
    x_in = torch.cat([x.repeat_interleave(each, 0), x])
    params = SimpleNamespace(
        x=x_in, text_cond=text, text_uncond=uncond, denoiser=denoiser, sampling_step=0, total_sampling_steps=p.steps
    )
    script_callbacks.call("cfg_denoiser", params)
    rows = x_in.shape[0] if shared.opts.batch_cond_uncond else batch
    context = torch.cat([text, uncond])
    unet = shared.sd_model.model.diffusion_model
    parts = zip(params.x.split(rows), context.split(rows), strict=True)
    out = torch.cat([unet(part, None, context=part_context) for part, part_context in parts])
    positive = out[: batch * each].view(batch, each, *x.shape[1:]).mean(1)
    return out[batch * each :] + p.cfg_scale * 0.1 * (positive - out[batch * each :])


_loaded = set()


def _load(name):
    """A model that was not in memory begins with a warm-up on a bare object."""
    if shared.sd_model is not shared.models[name]:
        shared.sd_model = shared.models[name]
        if name not in _loaded or shared.opts.sd_checkpoints_limit == 1:
            extra_networks.activate(SimpleNamespace(all_prompts=None, scripts=None), {})
        _loaded.add(name)
