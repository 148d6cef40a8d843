"""The command line: every command under its name."""

from __future__ import annotations

import typer

from hypernet import __version__
from hypernet.cli import bake, bench, draw, inspect, lora, merge, online, reduce, train
from hypernet.cli.console import Commands

app = typer.Typer(
    cls=Commands,
    help="Hypernetworks for Stable Diffusion: draw with them, look into their files, convert them.",
    epilog="Start with: hypernet demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hypernet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


app.command("generate")(draw.generate)
app.command("demo")(draw.demo)
app.command("list")(inspect.list_files)
app.command("info")(inspect.info)
app.command("convert")(inspect.convert)
app.command("bench")(bench.bench)
app.command("bake")(bake.bake)
app.command("lora")(lora.lora)
app.command("merge")(merge.merge)
app.command("reduce")(reduce.reduce)
app.command("search")(online.search)
app.command("get")(online.get)
app.command("lookup")(online.lookup)
app.command("train")(train.train)
