"""launch and restart: notebooks of the server's cluster."""

from __future__ import annotations

import click

from kitbag.cli.output import as_json, clean, print_json
from kitbag.errors import KitbagError

_NO = 1


@click.command()
@click.argument("environment", metavar="NS/NAME[:V]")
@click.option("--name", metavar="NAME", default="", help="The notebook's; the environment's name.")
@click.option("-n", "--namespace", metavar="NS", default="", help="The environment's own.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["notebook", "workspace"]),
    help="What Kubeflow has; a workspace where the server keeps a WorkspaceKind's list.",
)
@click.option("--home", metavar="SIZE", default="", help="A volume for the home, such as 10Gi.")
@click.option("--cpu", metavar="N", default="", help="Processors, such as 2 or 500m.")
@click.option("--memory", metavar="SIZE", default="", help="Such as 4Gi.")
@click.option("--gpus", metavar="N", type=click.IntRange(0, 64), default=0, help="With its image.")
@click.option("--accelerator", type=click.Choice(["cpu", "cuda", "tpu"]), help="Which image.")
@click.option("--pod-config", metavar="ID", default="", help="A workspace's choice of resources.")
@as_json
def launch(
    environment: str,
    name: str,
    namespace: str,
    form: str | None,
    home: str,
    cpu: str,
    memory: str,
    gpus: int,
    accelerator: str | None,
    pod_config: str,
    json_: bool,
) -> None:
    """Start a notebook on a version in the server's cluster, and print where it is."""
    from kitbag.client import Client

    with Client() as client:
        made = client.launch(
            environment,
            name=name,
            namespace=namespace,
            form=form.capitalize() if form else "",
            home=home,
            cpu=cpu,
            memory=memory,
            accelerators=gpus,
            accelerator=accelerator or "",
            pod_config=pod_config,
        )
    if json_:
        print_json(made)
        return
    click.echo(clean(f"kitbag: {made['say']}"), err=True)
    click.echo(clean(made["url"] or made["path"]))


@click.command()
@click.argument("environment", metavar="NS/NAME[:V]")
@click.option("--notebook", metavar="NS/NAME", help="This one, as NB_PREFIX says, unless given.")
@as_json
@click.pass_context
def restart(context: click.Context, environment: str, notebook: str | None, json_: bool) -> None:
    """Give a Notebook of the server's cluster a version now; whatever runs in it ends."""
    from kitbag.capture.image import notebook_name
    from kitbag.client import Client

    namespace, name = _parts(notebook) if notebook else notebook_name()
    with Client() as client:
        told = client.restart(environment, namespace, name)
    if json_:
        print_json(told)
    else:
        click.echo(clean(f"Notebook {namespace}/{name}: {told['state']}, {told['say']}"), err=True)
    context.exit(0 if told["state"] in ("done", "same") else _NO)


def _parts(notebook: str) -> tuple[str, str]:
    namespace, slash, name = notebook.partition("/")
    if not (namespace and slash and name):
        raise KitbagError(f"{notebook!r} names no notebook: write NAMESPACE/NAME")
    return namespace, name
