"""A card's editor: the host's, with what a hypernetwork's user wants to note and do."""

from __future__ import annotations

import html
from typing import Any

from hypernet.errors import HypernetError
from hypernet.library import Entry, Recommended, UserMetadata
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.facts import line

BASES = ("SD1", "SD2", "SDXL", "Unknown")
"""As the host's Lora page names them in NAME.json."""


def make_editor(ui_extra_networks: Any, catalogue: Catalogue, ui: Any, tabname: str, page: Any) -> Any:
    """ui_extra_networks: the host's module; page: the page whose cards are edited."""
    import gradio as gr

    base = ui_extra_networks.ui_extra_networks_user_metadata.UserMetadataEditor

    class Editor(base):  # type: ignore[misc, valid-type]
        def get_metadata_table(self, name: str) -> list[tuple[str, str | None]]:
            """The host's table, whose values it shows as HTML, with what the file holds."""
            told = [*super().get_metadata_table(name), *_about(catalogue, name)]
            return [(key, None if value is None else html.escape(str(value))) for key, value in told]

        def create_editor(self) -> None:
            self.create_default_editor_elems()
            self._fields = _fields(gr)
            self.edit_notes = gr.TextArea(label="Notes", lines=3)
            with gr.Row():
                self._place = gr.Textbox(label="Name, with its folder", elem_classes="hypernet-place")
                self._rename = gr.Button("Rename or move")
                self._convert = gr.Button("Convert to safetensors")
            self.create_default_buttons()
            fields = [*self._fields.values(), self._place]
            shown = [self.edit_name, self.edit_description, self.html_filedata, self.html_preview, self.edit_notes]
            self.button_edit.click(
                fn=self.put_values_into_components, inputs=[self.edit_name_input], outputs=[*shown, *fields]
            ).then(fn=lambda: gr.update(visible=True), inputs=[], outputs=[self.box])
            edited = [self.edit_description, self.edit_notes, *self._fields.values()]
            self.setup_save_handler(self.button_save, self._save, edited)
            for button, function in ((self._rename, self._move), (self._convert, self._to_safetensors)):
                button.click(fn=function, inputs=[self.edit_name_input, self._place], outputs=[self.html_status]).then(
                    fn=None, _js=f"() => hypernet.cards.reload({self.tabname!r})", inputs=[], outputs=[]
                )

        def put_values_into_components(self, name: str) -> list[Any]:
            """What the fields show when the editor opens, in the order of `create_editor`."""
            shown = list(super().put_values_into_components(name))
            entry = catalogue.find(name)
            if entry is None:
                return [*shown, *(gr.update() for _ in (*self._fields, self._place))]
            library = catalogue.library
            user, maker = library.user_metadata(entry), library.recommended(entry)
            shown[1], shown[4] = user.description or library.description(entry) or "", user.notes
            low, high = maker.range or (0.0, 0.0)
            written = user.sd_version if user.sd_version in BASES else "Unknown"
            values = {
                "base": written,
                "words": user.activation_text,
                "negative": user.negative_text,
                "weight": user.preferred_weight or 0.0,
                "low": low,
                "high": high,
                "sampler": maker.sampler,
                "steps": maker.steps or 0,
                "cfg": maker.cfg or 0,
                "tags": ", ".join(maker.tags),
                "source": maker.source.url,
            }
            return [*shown, *(values[key] for key in self._fields), entry.relative.rpartition(".")[0]]

        def _save(self, name: str, description: str, notes: str, *values: Any) -> None:
            entry = catalogue.find(name)
            if entry is None:
                return
            given = dict(zip(self._fields, values, strict=True))
            try:
                save(catalogue, entry, description, notes, given)
            except HypernetError as error:
                gr.Warning(str(error))
            self.page.items[name] = self.page.create_item(name)

        def _move(self, name: str, place: str) -> str:
            return _said(lambda entry: f"It is {catalogue.library.move(entry, place)} now.", catalogue, name)

        def _to_safetensors(self, name: str, place: str) -> str:
            return _said(lambda entry: _convert(catalogue, entry), catalogue, name)

    return Editor(ui, tabname, page)


def _fields(gr: Any) -> dict[str, Any]:
    """The fields between the description and the notes: what `save` takes, by name."""
    fields: dict[str, Any] = {}
    with gr.Row():
        fields["base"] = gr.Dropdown(list(BASES), value="Unknown", label="Base model", interactive=True)
        fields["weight"] = gr.Slider(
            label="Preferred strength", info="0: the usual one", minimum=-2.0, maximum=2.0, step=0.01
        )
        fields["low"] = gr.Number(label="Useful from", value=0)
        fields["high"] = gr.Number(label="Useful to", value=0)
    fields["words"] = gr.Textbox(label="Activation text", info="Goes into the prompt with the tag; commas between")
    fields["negative"] = gr.Textbox(label="Negative prompt", info="Goes into the negative prompt with the tag")
    with gr.Row():
        fields["sampler"] = gr.Textbox(label="Recommended sampler")
        fields["steps"] = gr.Number(label="Steps", value=0, precision=0)
        fields["cfg"] = gr.Number(label="CFG", value=0)
    with gr.Row():
        fields["tags"] = gr.Textbox(label="Tags", info="For the search; commas between")
        fields["source"] = gr.Textbox(label="Where it is from")
    return fields


def save(catalogue: Catalogue, entry: Entry, description: str, notes: str, given: dict[str, Any]) -> None:
    """Writes NAME.json: the host's keys, and ours under `hypernet`; all others stay. Raises HypernetError."""
    library = catalogue.library
    low, high = (float(given[key] or 0) for key in ("low", "high"))
    library.write_user_metadata(
        entry,
        UserMetadata(
            description=description or "",
            notes=notes or "",
            sd_version=given["base"] or "Unknown",
            activation_text=given["words"] or "",
            preferred_weight=float(given["weight"] or 0) or None,
            negative_text=given["negative"] or "",
        ),
    )
    said = library.recommended(entry)
    library.write_recommended(
        entry,
        Recommended(
            range=(min(low, high), max(low, high)) if low or high else None,
            sampler=given["sampler"] or "",
            steps=int(given["steps"] or 0) or None,
            cfg=float(given["cfg"] or 0) or None,
            tags=tuple(tag.strip() for tag in (given["tags"] or "").split(",") if tag.strip()),
            source=said.source.at(given["source"] or ""),
        ),
    )


def _about(catalogue: Catalogue, name: str) -> list[tuple[str, str | None]]:
    entry = catalogue.find(name)
    if entry is None:
        return []
    told = catalogue.facts(entry)
    if "problem" in told:
        return [("Can't be used: ", str(told["problem"]))]
    structure = ", ".join(f"{each:g}" for each in told["layer structure"])
    return [
        ("Contents: ", line(told, entry.stamp.size)),
        ("Structure: ", f"{structure} {told['activation']}{' layer norm' if told['layer norm'] else ''}"),
        ("Widths: ", ", ".join(map(str, told["widths"]))),
        ("Trained on: ", told.get("trained on")),
        ("SHA256: ", catalogue.sha256(entry)),
    ]


def _convert(catalogue: Catalogue, entry: Entry) -> str:
    """Writes a safetensors beside the file, which stays."""
    from hypernet.files import save as save_network

    target = entry.path.with_suffix(".safetensors")
    if target.exists():
        raise HypernetError(f"{target.name} is there already.")
    save_network(catalogue.library.load(entry), target)
    catalogue.refresh()
    return f"{target.name} lies beside it now; the old file is still there."


def _said(do: Any, catalogue: Catalogue, name: str) -> str:
    """What `do` tells of the file, or why it could not; as HTML."""
    entry = catalogue.find(name)
    try:
        told = "There is no such file any more." if entry is None else do(entry)
        catalogue.refresh()
    except HypernetError as error:
        told = str(error)
    return html.escape(told)
