"""kale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitbag.cli.output import as_json, clean, print_json
from kitbag.errors import PackError

if TYPE_CHECKING:
    from kitbag.client import Client
    from kitbag.kale import Notebook


@click.command()
@click.argument("file", metavar="NOTEBOOK", type=click.Path(path_type=Path))
@click.option("--name", metavar="NS/NAME[:V]", help="The environment; default/NOTEBOOK by default.")
@click.option("--python", metavar="3.11", help="The Python version; what fits by default.")
@click.option("--compile", "compile_", is_flag=True, help="Have Kale compile the pinned notebook.")
@as_json
def kale(file: Path, name: str | None, python: str | None, compile_: bool, json_: bool) -> None:
    """Give a Kale notebook its environment: build or reuse it, and pin the notebook.

    The environment is the kitbag:// one of the notebook's metadata; else one built of the
    requirements.txt beside it and its %pip install lines; else that of --name as it is. Prints the
    image, and with --compile the compiled pipeline's path.
    """
    from kitbag import kale as notebooks
    from kitbag.client import Client
    from kitbag.manifests import write

    notebook = notebooks.read(file)
    with Client() as client:
        image = _image(client, notebook, name, python, json_)
    done = notebooks.pinned(notebook, image)
    if done.data != notebook.data:
        write(file, done.data, like=file)
    for sentence in (*done.skipped, *done.notes):
        click.echo(clean(f"kitbag: {file}: {sentence}"), err=True)
    pipeline = notebooks.compiled(file, image) if compile_ else None
    if json_:
        print_json(
            {
                "notebook": str(file),
                "image": image,
                "changed": done.data != notebook.data,
                "pipeline": str(pipeline) if pipeline else None,
            }
        )
        return
    click.echo(image)
    if pipeline:
        click.echo(clean(str(pipeline)))


def _image(
    client: Client, notebook: Notebook, name: str | None, python: str | None, json_: bool
) -> str:
    """The image of the notebook's environment, built if it has to be."""
    from kitbag import kale as notebooks
    from kitbag.cli.builds import waited
    from kitbag.refs import EnvRef

    if name is None and notebook.environment is not None:
        return client.resolve(str(notebook.environment)).image
    found = notebooks.source(notebook)
    if found is None and name is not None:
        return client.resolve(name).image
    if found is None:
        raise PackError(
            f"{notebook.path} doesn't say which packages it needs: give it a %pip install line, put"
            " a requirements.txt beside it, or name an environment with --name"
        )
    files, install = found
    begun = client.build(
        files,
        name=EnvRef.parse(name).environment if name else None,
        python=python,
        indexes=install.indexes,
        default_index=install.default_index,
    )
    ready = waited(client, begun, json_)
    return client.resolve(f"{ready.environment}:{ready.version}").image
