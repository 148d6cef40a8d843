"""The page "Hypernetwork tools": gradio's controls and nothing else. The work is in `tools` and in Civitai's backend.

It runs on gradio 3.41 and 4.40: what they don't share isn't used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from hypernet.errors import HypernetError
from hypernet.webui import found
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.civitai_routes import PAGE_PREVIEW, the_backend
from hypernet.webui.host import Host
from hypernet.webui.tools import EXACT, LORA, WAYS, WITH_BIAS, Told, Tools, told

if TYPE_CHECKING:
    from hypernet.civitai.backend import Backend

_log = logging.getLogger(__name__)

_PROGRESS = gr.Progress()
"""As a default it has gradio hand in the progress of the call."""
_LOOK_AGAIN = 0.4
"""Seconds between two looks at a task."""
_PRIVACY = (
    "Nothing is asked of Civitai before you press a button here. A search sends your words; a look-up sends the hashes "
    "of your files."
)


def tools_tab(host: Host, catalogue: Catalogue) -> list[tuple[Any, str, str]]:
    """For `on_ui_tabs`: the page, its title, its id. Nothing, and a line in the console, where it can't be made."""
    try:
        return [(_Page(Tools(host, catalogue), the_backend(catalogue)).blocks, "Hypernetwork tools", "hypernet_tools")]
    except Exception:
        _log.exception("The page of tools could not be made")
        return []


class _Page:
    """The controls while they are made."""

    def __init__(self, tools: Tools, backend: Backend | None) -> None:
        self._tools = tools
        self._lists: list[tuple[Any, Callable[[], list[str]]]] = []  # dropdowns, and what they list
        self._buttons: list[Any] = []  # events after which files may have come
        with gr.Blocks(analytics_enabled=False) as self.blocks:
            with gr.Tabs():
                if backend is not None:
                    self._tab("Get", lambda: self._get(backend))
                for title, make in (
                    ("Merge", self._merge),
                    ("To LoRA", self._lora),
                    ("Bake", self._bake),
                    ("Reduce", self._reduce),
                    ("Folder", self._folder),
                ):
                    self._tab(title, make)
            refresh = gr.Button("Refresh the lists", size="sm")
            refresh.click(self._refreshed, None, [each for each, _ in self._lists], queue=False)
            for event in self._buttons:
                event.then(self._refreshed, None, [each for each, _ in self._lists])
        for block in self.blocks.blocks.values():
            block.do_not_save_to_config = True  # A1111 would keep each control's value in ui-config.json

    def _tab(self, title: str, make: Callable[[], None]) -> None:
        with gr.Tab(title, elem_id=f"hypernet_tools_{title.lower().replace(' ', '_')}"):
            make()

    def _refreshed(self) -> Any:
        updates = [gr.update(choices=_listed(listed)) for _, listed in self._lists]
        return updates if len(updates) != 1 else updates[0]

    # Parts that several tabs share

    def _list(self, label: str, listed: Callable[[], list[str]], **more: Any) -> Any:
        dropdown = gr.Dropdown(_listed(listed), label=label, allow_custom_value=True, **more)
        self._lists.append((dropdown, listed))
        return dropdown

    def _networks(self) -> Any:
        """A text of tags, and controls that add one to it."""
        with gr.Row():
            name = self._list("Hypernetwork", self._tools.names, scale=3)
            strength = gr.Slider(-1, 2, 1, step=0.05, label="Strength", scale=2)
            k, v = (gr.Number(1, label=f"Factor on {kind}", scale=1, min_width=80) for kind in "KV")
            add = gr.Button("Add", scale=1, min_width=80)
        tags = gr.Textbox(
            label="These, in this order",
            placeholder="<hypernet:ink:0.7> <hypernet:water:0.4:k=0.5:768=2>: tags as in a prompt",
            lines=2,
        )
        add.click(_added, [tags, name, strength, k, v], tags, queue=False)
        return tags

    def _checkpoints(self, label: str) -> Any:
        return self._list(label, self._tools.checkpoints)

    def _runs(self, label: str, work: Callable[..., Told], controls: list[Any], said: Any, **more: Any) -> None:
        """A button for work that is told the values of controls and how to show progress."""

        def run(progress: Any = _PROGRESS, *values: Any) -> str:
            def steps(done: float, doing: str) -> None:
                progress(done, desc=doing)

            return found.sentences(told(lambda: work(*values, steps)))

        self._buttons.append(gr.Button(label, **more).click(run, controls, said))

    # Tabs

    def _merge(self) -> None:
        tags = self._networks()
        with gr.Row():
            way = gr.Radio(list(WAYS), value=WAYS[0], label="How", info="A chain is what the tags do in a prompt.")
            half = gr.Checkbox(label="Half precision")
            model = self._checkpoints("Measure on, if it isn't exact")
        name = _name()
        said = _answer()
        self._runs("Merge", self._tools.merge, [tags, way, half, model, name], said, variant="primary")

    def _lora(self) -> None:
        model = self._checkpoints("For this checkpoint")
        tags = self._networks()
        with gr.Row():
            kind = gr.Radio(
                [LORA, WITH_BIAS, EXACT],
                value=LORA,
                label="Kind",
                info="Every program reads a plain LoRA; A1111 and Forge read all.",
            )
            energy = gr.Slider(0.5, 1, 0.99, step=0.005, label="Part of the change that is kept")
            anyway = _anyway()
        name = _name()
        said = _answer()
        controls = [model, tags, kind, energy, anyway, name]
        with gr.Row():
            self._runs("Show the error", partial(self._tools.lora, False), controls, said)
            self._runs("Write the LoRA", partial(self._tools.lora, True), controls, said, variant="primary")

    def _bake(self) -> None:
        model = self._checkpoints("Into a copy of this checkpoint")
        tags = self._networks()
        name = _name()
        said = _answer()
        self._runs("Bake", self._tools.bake, [model, tags, name], said, variant="primary")

    def _reduce(self) -> None:
        with gr.Row():
            network = self._list("Hypernetwork", self._tools.names)
            energy = gr.Slider(0.5, 1, 1, step=0.005, label="Part of the change that is kept (linear ones)")
        with gr.Row():
            half = gr.Checkbox(label="Half precision", value=True)
            only = gr.Textbox(label="Only these widths", placeholder="all")
            anyway = _anyway()
        name = _name()
        said = _answer()
        self._runs("Reduce", self._tools.reduce, [network, energy, half, only, anyway, name], said, variant="primary")

    def _folder(self) -> None:
        folders = self._tools.folders()
        folder = self._list("Folder", self._tools.folders, value=folders[0] if folders else None)
        said = _answer()
        with gr.Row():
            self._runs("Look for doubles and faults", self._tools.survey, [folder], said)
            self._runs("Convert all to safetensors", self._tools.convert, [folder], said)

    def _get(self, backend: Backend) -> None:
        from hypernet.civitai import BASES, SORTS

        gr.Markdown(_PRIVACY)
        with gr.Row():
            text = gr.Textbox(label="Search", placeholder="watercolor")
            base = gr.Dropdown(["", *BASES], value="", label="Base")
            sort = gr.Dropdown(list(SORTS), value=SORTS[0], label="Sort by")
            adult = gr.Checkbox(label="Also for adults")
        with gr.Row():
            search = gr.Button("Search Civitai", variant="primary")
            more = gr.Button("More", visible=False)
        shown, here = gr.HTML(elem_id="hypernet_get_found"), gr.State(None)

        def begin(*asked: Any) -> tuple[str, Any, Any]:
            named = dict(zip(("text", "base", "sort", "adult"), asked, strict=True))
            return go_on({"asked": named, "cursor": "", "cards": ""})

        def go_on(page: Any) -> tuple[str, Any, Any]:
            try:
                answer = backend.search({**page["asked"], "cursor": page["cursor"]})
            except HypernetError as error:
                return found.sentences([str(error)]), page, gr.update(visible=False)
            cards, cursor = page["cards"] + found.cards(answer["models"], PAGE_PREVIEW), answer["cursor"]
            return found.gallery(cards), {**page, "cursor": cursor, "cards": cards}, gr.update(visible=bool(cursor))

        for event in (search.click, text.submit):
            event(begin, [text, base, sort, adult], [shown, here, more])
        more.click(go_on, here, [shown, here, more])
        self._download(backend, adult)

    def _download(self, backend: Backend, adult: Any) -> None:
        with gr.Row():
            model = gr.Textbox(
                label="Download",
                placeholder="Click a picture, or paste an address, id or hash",
                elem_id="hypernet_get_model",
                scale=3,
            )
            safe = gr.Checkbox(label="Make it safetensors", value=True)
        said, task = _answer(), gr.State("")
        with gr.Row():
            get, lookup, cancel = gr.Button("Download"), gr.Button("Look up my own files"), gr.Button("Cancel")

        def got(model: str, safe: bool, adult: bool) -> Iterator[tuple[str, str]]:
            yield from _followed(backend, lambda: backend.get({"model": model, "safetensors": safe, "adult": adult}))

        def looked(adult: bool) -> Iterator[tuple[str, str]]:
            yield from _followed(backend, lambda: backend.lookup({"adult": adult}))

        self._buttons.append(get.click(got, [model, safe, adult], [said, task]))
        self._buttons.append(lookup.click(looked, adult, [said, task]))
        cancel.click(lambda task: _stop(backend, task), task, None, queue=False)


def _followed(backend: Backend, start: Callable[[], dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """What to show of a task until it is done, and its id. Where the browser goes away, the task goes on."""
    try:
        state = start()
        while not state["finished"]:
            yield found.progress(state), state["task"]
            time.sleep(_LOOK_AGAIN)
            state = backend.state(state["task"])
        yield found.sentences(found.result(state)), ""
    except HypernetError as error:
        yield found.sentences([str(error)]), ""


def _stop(backend: Backend, task: str) -> None:
    if task:
        told(lambda: [str(backend.cancel(task))])


def _listed(listed: Callable[[], list[str]]) -> list[str]:
    """A list that can't be made now is empty: pages are made before everything is there."""
    try:
        return listed()
    except Exception:
        _log.exception("A list of files could not be made")
        return []


def _added(tags: str, name: str | None, strength: float, k: float, v: float) -> str:
    """The tags with one more."""
    if not name:
        return tags
    factors = "".join(f":{kind}={factor:g}" for kind, factor in (("k", k), ("v", v)) if factor not in (1, None))
    return f"{tags} <hypernet:{name}:{strength:g}{factors}>".strip()


def _answer() -> Any:
    """Where results come; it has a height before they do, as gradio draws progress over it."""
    return gr.HTML(found.sentences([]))


def _name() -> Any:
    return gr.Textbox(label="Name of the new file", placeholder="made of the names above")


def _anyway() -> Any:
    return gr.Checkbox(label="Write it anyway", info="Also where more than a tenth of the change is lost.")
