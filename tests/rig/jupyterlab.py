"""A JupyterLab with the client's wheel in it, and one running as if in an image of Kitbag."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from rig.process import Daemon, MissingPartError, free_port, program

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements/jupyterlab.txt"
TOKEN = "of-jupyter-itself"
"""What Jupyter's own sign-in takes."""

# What an image has below /opt is seen by this process and its children alone. Two lower folders and
# none to write into: such a mount works on any file system; the environment is a mount over it.
_IN_IMAGE = """
set -eu
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$1:/opt" /opt
mount --bind "$2" /opt/env
shift 2
exec "$@"
"""


def jupyterlab(cache: Path, folder: Path) -> Path:
    """The bin folder of an environment of requirements/jupyterlab.txt, made once into `cache`.

    A wheel of the client, built in `folder`, is installed into it anew: what users get, with the
    files that Jupyter looks for.
    """
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    made = cache / f"jupyterlab-{key}"
    uv = Path(sys.executable).with_name("uv")
    env = {**os.environ, "UV_NO_CONFIG": "1"}

    def run(*argv: str | Path, cwd: Path = ROOT) -> None:
        done = subprocess.run(argv, cwd=cwd, env=env, check=False, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{argv}: {done.stderr}")

    install = (uv, "pip", "install", "--quiet", "--python", made)
    if not (made / "done").exists():
        run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, made)
        run(*install, "--require-hashes", "-r", REQUIREMENTS)
        (made / "done").touch()
    run(
        *(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder),
        cwd=ROOT / "client",
    )
    run(*install, "--no-deps", "--offline", "--reinstall", *folder.glob("*.whl"))
    return made / "bin"


class Lab:
    """A running JupyterLab; `url` ends with a slash, `page` is what a browser opens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.page = f"{url}lab?token={TOKEN}&reset"
        self.http = httpx.Client(
            base_url=url,
            timeout=60,
            trust_env=False,
            headers={"Authorization": f"token {TOKEN}"},
        )


@contextmanager
def started(
    programs: Path,
    folder: Path,
    variables: Mapping[str, str],
    *,
    prefix: str = "/",
    opt: tuple[Path, Path] | None = None,
) -> Iterator[Lab]:
    """JupyterLab with its files in `folder`, below `prefix` of its address.

    `opt` is what /opt shows besides the machine's own, and the environment at /opt/env.
    """
    if os.geteuid() != 0:
        raise MissingPartError("/opt can't be another one: run the tests as root")
    port = free_port()
    lab = Lab(f"http://127.0.0.1:{port}{prefix.rstrip('/')}/")
    (folder / "work").mkdir(parents=True)
    command = [
        str(programs / "jupyter-lab"),
        *("--allow-root", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={folder}/work", f"--ServerApp.base_url={prefix}"),
        f"--IdentityProvider.token={TOKEN}",
        # A login shell would begin with PATH of its own.
        "--ServerApp.terminado_settings=shell_command=['/bin/bash']",
    ]
    if opt:
        unshare = program("unshare", "util-linux")
        folders = [str(path) for path in opt]
        command = [unshare, "--mount", "sh", "-c", _IN_IMAGE, "sh", *folders, *command]
    # Nothing of the caller's own Jupyter, Kitbag or pip.
    own = ("JUPYTER", "KITBAG", "NB_", "PIP_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    daemon = Daemon(
        command,
        log=folder / "lab.log",
        ready=lambda: _answers(lab),
        timeout_s=120,
        env={**kept, "HOME": str(folder), **variables},
    )
    daemon.start()
    try:
        yield lab
    finally:
        lab.http.close()
        daemon.stop()


def _answers(lab: Lab) -> bool:
    try:
        return lab.http.get("api/status").status_code == 200
    except httpx.HTTPError:
        return False
