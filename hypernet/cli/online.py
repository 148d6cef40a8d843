"""`search`, `get` and `lookup`: hypernetworks from Civitai, and what it knows of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from hypernet.cli.console import clean, err, fail, note, out, show_json, table
from hypernet.cli.hints import pip_install
from hypernet.cli.options import USUAL_FOLDERS, AsJson, Folders
from hypernet.errors import HypernetError
from hypernet.text import size_in_words

if TYPE_CHECKING:
    from hypernet.civitai import Advice, Civitai, Got, Looked, Model, Watch

Adult = Annotated[bool, typer.Option("--adult", help="Also models and previews for adults.")]
SiteAddress = Annotated[str, typer.Option("--site", envvar="CIVITAI_SITE", help="Another address of the site.")]


def search(
    text: Annotated[str, typer.Argument(help="Words in the name. Without any: the most downloaded.")] = "",
    tag: Annotated[str, typer.Option("--tag", help="Only with this tag.")] = "",
    creator: Annotated[str, typer.Option("--by", metavar="NAME", help="Only by this maker.")] = "",
    base: Annotated[str, typer.Option("--base", help="Only for this base model: 'SD 1.5', 'SD 2.1', 'SDXL 1.0'.")] = "",
    sort: Annotated[str, typer.Option("--sort", help="Most Downloaded, Highest Rated or Newest.")] = "Most Downloaded",
    period: Annotated[str, typer.Option("--period", help="AllTime, Year, Month, Week or Day.")] = "AllTime",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many.")] = 20,
    cursor: Annotated[str, typer.Option("--cursor", help="The next page, as the page before says.")] = "",
    adult: Adult = False,
    site: SiteAddress = "",
    as_json: AsJson = False,
) -> None:
    """Search Civitai for hypernetworks.

    [bold]Examples[/bold]

    hypernet search watercolor

    hypernet search --sort Newest --base "SD 1.5"
    """
    from hypernet.civitai import Search, json_forms

    wanted = Search(text, tag, creator, base, sort, period, adult, limit)
    with _client(site) as civitai, _watched() as watch:
        page = civitai.search(wanted, cursor, watch)
    if as_json:
        show_json(json_forms.page_form(page))
        return
    if not page.models:
        note("Civitai has no such hypernetwork.")
        return
    rows = (
        (model.id, model.name, model.creator, model.downloads, _bases(model), ", ".join(model.tags[:4]))
        for model in page.models
    )
    out.print(table(">id", "name", "by", ">downloads", "base", "tags", rows=rows))
    if page.cursor:
        note(f"There are more: --cursor {page.cursor}")


def get(
    wanted: Annotated[
        str, typer.Argument(metavar="MODEL", help="Its address on Civitai, id, id@version, or a file's hash.")
    ],
    folders: Folders = None,
    as_safetensors: Annotated[
        bool, typer.Option("--safetensors", help="Keep it as .safetensors, which no program runs.")
    ] = False,
    adult: Adult = False,
    site: SiteAddress = "",
    as_json: AsJson = False,
) -> None:
    """Download a hypernetwork from Civitai, with its preview, trigger words and recommended settings.

    It goes into the first folder given with -H. CIVITAI_API_KEY is sent along where it is set.

    [bold]Examples[/bold]

    hypernet get https://civitai.com/models/4?modelVersionId=5

    hypernet get 4@5 --safetensors -H models/hypernetworks
    """
    from hypernet.civitai import get, json_forms
    from hypernet.library import Library

    target = folders[0] if folders else next((f for f in USUAL_FOLDERS if f.is_dir()), USUAL_FOLDERS[-1])
    library = Library(folders or [target])
    with _client(site) as civitai, _watched() as watch:
        got = get(civitai, wanted, target, as_safetensors=as_safetensors, adult=adult, library=library, watch=watch)
    for text in got.notes:
        note(text)
    if as_json:
        show_json(json_forms.got_form(got))
        return
    out.print(table("", "", rows=_told(got)))
    if got.pickle:
        note("It is a pickle, which other programs run. The same with --safetensors puts a safe copy beside it.")


def lookup(
    names: Annotated[list[str] | None, typer.Argument(help="Which; without any, all.", show_default=False)] = None,
    folders: Folders = None,
    write: Annotated[
        bool, typer.Option("--write/--dry-run", help="Whether what is missing beside the files is added.")
    ] = True,
    previews: Annotated[bool, typer.Option("--previews/--no-previews", help="Whether previews are fetched.")] = True,
    adult: Adult = False,
    site: SiteAddress = "",
    as_json: AsJson = False,
) -> None:
    """Find one's own hypernetworks on Civitai by their hashes: words, settings, previews, newer versions.

    [bold]Examples[/bold]

    hypernet lookup

    hypernet lookup ink water -H models/hypernetworks --dry-run
    """
    from hypernet.civitai import json_forms, lookup
    from hypernet.library import Library, NotFound

    library = Library(_folders(folders))
    entries = None
    if names:
        found = {name: library.find(name) for name in names}
        entries = [entry for entry in found.values() if entry is not None]
        for name, entry in found.items():
            if entry is None:
                raise NotFound(name, library.suggest(name), ambiguous=False)
    with _client(site) as civitai, _watched() as watch:
        looked = lookup(civitai, library, entries, write=write, previews=previews, adult=adult, watch=watch)
    for one in looked:
        for text in one.notes:
            note(f"{one.entry.name}: {text}")
    if as_json:
        show_json([json_forms.looked_form(one) for one in looked])
        return
    if not looked:
        note("There are no hypernetworks here.")
        return
    out.print(table("name", "on Civitai", "version", "base", "newer", rows=map(_row, looked)))


def _folders(folders: list[Path] | None) -> list[Path]:
    for folder in folders or ():
        if not folder.is_dir():
            raise HypernetError(f"{folder}: there is no such folder.")
    return folders or [folder for folder in USUAL_FOLDERS if folder.is_dir()]


@contextmanager
def _client(site: str) -> Iterator[Civitai]:
    try:
        from hypernet.civitai import SITE, Civitai, key_from_environment
    except ModuleNotFoundError as error:
        if error.name not in ("requests", "urllib3"):
            raise
        raise fail(f"This command needs {error.name}: {pip_install('requests')}") from error
    with Civitai(key_from_environment(), site or SITE) as civitai:
        yield civitai


@contextmanager
def _watched() -> Iterator[Watch]:
    """A bar on a terminal. Ctrl+C ends the command; a download goes on from there next time."""
    from hypernet.civitai import Progress as Told
    from hypernet.civitai import Watch

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        task = bars.add_task("", total=None, told="")

        def show(progress: Told) -> None:
            text = (
                size_in_words(progress.done)
                if progress.unit == "bytes"
                else str(progress.done)
                if progress.total
                else ""
            )
            bars.update(
                task, description=clean(progress.doing), completed=progress.done, total=progress.total, told=text
            )

        yield Watch(show)


def _told(got: Got) -> Iterator[tuple[object, ...]]:
    yield ("already here" if got.already else "file"), got.path
    yield "model", f"{got.model.name}, {got.version.name}, by {got.model.creator or 'an unknown maker'}"
    yield "base", got.version.base_model or "not said"
    if got.version.trained_words:
        yield "trigger words", ", ".join(got.version.trained_words)
    yield from _advised(got.advice)
    if got.preview:
        yield "preview", got.preview.name


def _advised(said: Advice) -> Iterator[tuple[object, ...]]:
    if said.range:
        best = f", best {said.strength:g}" if said.strength else ""
        yield "strength", f"{said.range[0]:g} to {said.range[1]:g}{best}"
    elif said.strength:
        yield "strength", f"{said.strength:g}"
    if said.sampler:
        yield "sampler", said.sampler
    if said.steps:
        yield "steps", said.steps
    if said.cfg:
        yield "CFG", f"{said.cfg:g}"


def _row(one: Looked) -> tuple[object, ...]:
    if one.version is None or one.model is None:
        return one.entry.name, "no" if one.sha256 else "can't be read", "", "", ""
    newer = f"{one.update.name} (hypernet get {one.model.id}@{one.update.id})" if one.update else ""
    return one.entry.name, one.model.name, one.version.name, one.version.base_model, newer


def _bases(model: Model) -> str:
    return ", ".join(dict.fromkeys(version.base_model for version in model.versions))
