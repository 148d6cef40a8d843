"""The tab “Train hypernetwork”: a folder of pictures, a name, Train. Runs on gradio 3.41 and 4.40.

Its panel is filled by our script on the page (javascript/train.js), which asks `train_routes`: so it finds again what
runs, however the page was opened.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from html import escape
from typing import Any

from hypernet.errors import HypernetError
from hypernet.webui.train_desk import Desk

TITLE, ELEMENT = "Train hypernetwork", "hypernet_train"
"""What the tab is called, and its id on the page."""
LABELS: Mapping[str, str] = {
    "learn_rate": "Learning rate (auto, a number, or a schedule such as 1e-3:100, 1e-4)",
    "steps": "Max steps",
    "batch_size": "Batch size",
    "gradient_step": "Gradient accumulation steps",
    "resolution": "Resolution (0: the model's own)",
    "layer_structure": "Hypernetwork layer structure",
    "activation_func": "Activation function",
    "optimizer": "Optimizer",
    "crop": "Crop",
    "latent_sampling_method": "Latent sampling method",
    "clip_grad_mode": "Gradient clipping",
    "clip_grad_value": "Gradient clip value",
    "template": "Prompt template (lines between |, with [name] and [filewords])",
    "seed": "Seed",
    "flip": "Mirror half of the pictures",
    "use_weight": "Use PNG alpha channel as loss weight",
    "shuffle_tags": "Shuffle tags by ','",
    "tag_drop_out": "Drop out tags (part of them)",
    "gradient_checkpointing": "Gradient checkpointing (less memory, slower)",
    "write_pt": "Also write a .pt for A1111's own hypernetworks",
}
"""Setting -> what it is called; the names are A1111's where A1111 has it."""

_log = logging.getLogger("hypernet")


def train_tabs(desk: Desk) -> list[tuple[Any, str, str]]:
    """As the host's `on_ui_tabs` wants it; no tab where it can't be made, as the host must start."""
    try:
        return [(_blocks(desk), TITLE, ELEMENT)]
    except Exception:
        _log.warning("The tab for training could not be made.", exc_info=True)
        return []


def _blocks(desk: Desk) -> Any:
    import gradio as gr

    with gr.Blocks(analytics_enabled=False) as tab:
        with gr.Row():
            with gr.Column():
                folder = gr.Textbox(label="Folder of pictures", elem_id="hypernet_train_folder", max_lines=1)
                name = gr.Textbox(label="Name", elem_id="hypernet_train_name", max_lines=1)
                with gr.Row():
                    look = gr.Button("Look at the pictures", elem_id="hypernet_train_look")
                    train = gr.Button("Train", variant="primary", elem_id="hypernet_train_start")
                with gr.Accordion("Advanced", open=False):
                    names, fields = _advanced(gr)
                answer = gr.HTML(elem_id="hypernet_train_answer")
            gr.HTML('<div id="hypernet_train_panel" aria-live="polite"></div>')
        inputs = [folder, name, *fields]

        def seen(*values: Any) -> str:
            return _said(lambda: desk.foresee(read(names, values)))

        def started(*values: Any) -> str:
            return _said(lambda: _start(desk, read(names, values)))

        look.click(seen, inputs, answer)
        folder.submit(seen, inputs, answer)
        if hasattr(folder, "blur"):
            folder.blur(lambda *values: seen(*values) if values[0].strip() else "", inputs, answer)
        train.click(started, inputs, answer)
    return tab


def _start(desk: Desk, values: Mapping[str, Any]) -> str:
    status = desk.start(values)
    return (
        f"<p>“{escape(status.name)}” is being trained. You can close this page: the training goes on, and the page "
        "finds it again.</p>"
    )


def _said(do: Any) -> str:
    """The HTML that `do` returns, or why it can't."""
    try:
        return str(do())
    except HypernetError as error:
        return f'<p class="hypernet-refused">{escape(str(error))}</p>'
    except Exception as error:
        _log.warning("The Train tab failed.", exc_info=True)
        return f'<p class="hypernet-refused">Something went wrong: {escape(str(error))}. The console says more.</p>'


def _advanced(gr: Any) -> tuple[list[str], list[Any]]:
    """The names of the settings, and a field for each."""
    from hypernet.network import ACTIVATIONS
    from hypernet.train.data.buckets import CROPS
    from hypernet.train.data.dataset import SAMPLINGS
    from hypernet.train.optimizers import OPTIMIZERS
    from hypernet.train.settings import Settings

    choices = {
        "activation_func": list(ACTIVATIONS),
        "optimizer": list(OPTIMIZERS),
        "crop": list(CROPS),
        "latent_sampling_method": list(SAMPLINGS),
        "clip_grad_mode": ["disabled", "norm", "value"],
    }
    fields: list[Any] = []
    for key, label in LABELS.items():
        value = getattr(Settings, key)
        more = {"label": label, "elem_id": f"hypernet_train_{key}"}
        if key in choices:
            fields.append(gr.Dropdown(choices=choices[key], value=value, **more))
        elif isinstance(value, bool):
            fields.append(gr.Checkbox(value=value, **more))
        elif isinstance(value, tuple):
            fields.append(gr.Textbox(value=("|" if key == "template" else ", ").join(map(str, value)), **more))
        elif isinstance(value, str):
            fields.append(gr.Textbox(value=value, **more))
        else:
            fields.append(gr.Number(value=value, precision=0 if isinstance(value, int) else None, **more))
    fields.append(gr.Textbox(label="Base model (a file or folder; empty: the loaded checkpoint)", max_lines=1))
    fields.append(gr.Textbox(label="Other settings (a line each, such as min_snr=0)", lines=2))
    return [*LABELS, "checkpoint", "others"], fields


def read(names: list[str], values: tuple[Any, ...]) -> dict[str, Any]:
    """Fields -> values of `Settings`. names: of the fields after folder and name. Raises HypernetError."""
    from hypernet.train.settings import Settings, value_of

    typed = dict(zip(["folder", "name", *names], values, strict=True))
    others = str(typed.pop("others", "") or "")
    read: dict[str, Any] = {}
    for key, value in typed.items():
        if isinstance(value, str) and not isinstance(getattr(Settings, key, ""), str):
            value = value_of(key, value)
        elif isinstance(getattr(Settings, key, ""), float) or isinstance(value, (bool, str)):
            pass
        elif value is None:
            value = getattr(Settings, key)
        read[key] = value
    for line in filter(None, map(str.strip, others.splitlines())):
        key, sign, text = line.partition("=")
        if not sign:
            raise HypernetError(f"“{line}” is no setting: write NAME=VALUE, such as min_snr=0.")
        read[key.strip()] = value_of(key.strip(), text.strip())
    return read
