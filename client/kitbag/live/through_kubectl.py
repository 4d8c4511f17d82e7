"""The user's current cluster, through the user's own kubectl, which knows how to log in there."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ..errors import KitbagError
from .cluster import Cluster
from .errors import AwayError

_START_S = 15.0
_ANSWER_S = 60.0
_STEP_S = 0.02


@contextmanager
def current(context: str | None = None) -> Iterator[Cluster]:
    """The cluster of kubectl's current context, or of this one; as kubectl's user.

    `kubectl proxy` answers on a socket in a folder that only this user can open. Raises AwayError,
    and KitbagError where there is no kubectl.
    """
    program = _kubectl()
    more = [f"--context={context}"] if context else []
    # Short, since the path of a unix socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="kb-") as folder:
        socket = Path(folder, "s")
        with Path(folder, "log").open("w+b") as log:
            command = [program, "proxy", f"--unix-socket={socket}", *more]
            with subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            ) as proxy:
                try:
                    _wait(socket, proxy, Path(log.name))
                    transport = httpx.HTTPTransport(uds=str(socket))
                    with httpx.Client(
                        base_url="http://localhost", transport=transport, timeout=_ANSWER_S
                    ) as http:
                        yield Cluster(http)
                finally:
                    proxy.terminate()


def namespace(context: str | None = None) -> str:
    """The namespace that kubectl means when none is given."""
    command = [_kubectl(), "config", "view", "--minify", "-o", "jsonpath={..namespace}"]
    command += [f"--context={context}"] if context else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "default"


def _kubectl() -> str:
    program = shutil.which("kubectl")
    if program is None:
        raise KitbagError(
            "kubectl is not on PATH: install it, since it knows your cluster and how to log in"
        )
    return program


def _wait(socket: Path, proxy: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + _START_S
    while not socket.exists():
        if proxy.poll() is not None or time.monotonic() > ends:
            said = log.read_text(errors="replace").strip().splitlines()
            why = said[-1] if said else "it says nothing"
            raise AwayError(f"kubectl finds no cluster ({why}): see `kubectl config view`")
        time.sleep(_STEP_S)
