"""`mtl data`: `fetch`, `sample` and `check`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import evolve

from mtl.commands.data_check import check
from mtl.errors import PluginError, UsageError

if TYPE_CHECKING:
    from mtl.components import Dataset
    from mtl.data.datasets import Progress

data_app = typer.Typer(
    no_args_is_help=True, help="Download public datasets, generate small ones, or check one's own."
)
data_app.command("check")(check)


@data_app.command("fetch")
def fetch_command(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Datasets of installed plugins.")],
    base_dir: Annotated[Path, typer.Option(help="Target folder.")] = Path("data"),
    url: Annotated[
        str | None, typer.Option(help="Another address of the same archive; for one NAME.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files that differ.")] = False,
) -> None:
    """Download public datasets: verified, resumed if interrupted, and skipped if they are there."""
    from mtl.data.datasets import fetch
    from mtl.render.terminal import errors, output

    if url is not None and len(names) > 1:
        raise UsageError(
            f"--url is the address of one dataset, but {len(names)} are named: {', '.join(names)}"
        )
    datasets = {name: _dataset(name) for name in names}
    for name, dataset in datasets.items():
        errors().print(f"fetching {name}", soft_wrap=True)
        with _progress(name) as progress:
            written = fetch(
                name, dataset, base_dir, urls=(url,) if url else (), force=force, progress=progress
            )
        output().print(f"{name}: {_said(written, base_dir)}", soft_wrap=True)


@data_app.command("sample")
def sample_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Target folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the text.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files that differ.")] = False,
) -> None:
    """Generate a small corpus in the format of each installed dataset."""
    from mtl.data.datasets import write_sample
    from mtl.plugins import discover
    from mtl.render.terminal import output

    files: dict[str, str] = {}
    writers: dict[str, str] = {}
    for name in discover().available("dataset"):
        for path, text in _dataset(name).sample(seed).items():
            if path in writers:
                raise PluginError(f"the samples of {writers[path]!r} and {name!r} both write {path}")
            files[path], writers[path] = text, name
    if not files:
        raise PluginError("no installed dataset has a sample; `mtl plugins` shows what is installed")
    output().print(_said(write_sample(files, folder, force=force), folder), soft_wrap=True)


def _dataset(name: str) -> Dataset:
    from mtl.components.instantiate import instantiate
    from mtl.plugins import discover

    plugins = discover()
    if name not in plugins.available("dataset"):
        for family in plugins.available("dataset"):
            component = plugins.find("dataset", family).with_defaults()
            config = type(component.config).named(name)
            if config is not None:
                member: Dataset = instantiate(evolve(component, config=config))
                return member
    dataset: Dataset = instantiate(plugins.find("dataset", name).with_defaults())
    return dataset


def _said(written: list[str], folder: Path) -> str:
    if not written:
        return f"already in {folder}"
    return f"{', '.join(written)} written to {folder}"


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from mtl.render.terminal import errors

    console = errors()
    columns = (
        *Progress.get_default_columns()[:2],
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        bar = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
