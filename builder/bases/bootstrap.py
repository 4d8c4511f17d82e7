"""A Debian root by mmdebstrap, streamed into one compressed layer."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import IO, Self

from builder.bases.apt import Source, acquire_settings
from builder.errors import BaseNotFoundError, DiskFullError, IndexUnreachableError, TimedOutError
from builder.layers.compress import compress
from builder.model import Layer

ESSENTIAL = ("ca-certificates", "python3", "python3-venv")
"""What every Debian base holds: the interpreter, with ensurepip, and the means to verify TLS."""

_GRACE_S = 30
_PASSED_ON = ("HOME", "TMPDIR", "http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
_UNWANTED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
_WANTED = ("/usr/share/doc/*/copyright",)


def bootstrap(
    suite: str,
    packages: Sequence[str],
    sources: Sequence[Source],
    target: Path,
    *,
    source_date_epoch: int,
    say: Callable[[str], None],
    timeout_s: float,
) -> Layer:
    """Write the gzip layer of a minimal Debian root with the packages to `target`.

    The same packages give the same bytes: mmdebstrap sorts the entries and keeps no time after
    `source_date_epoch` (seconds), `finish.sh` removes the rest, and the gzip members are made of
    fixed pieces by libdeflate. `say` is given mmdebstrap's lines. Raises BaseNotFoundError if
    mmdebstrap is missing or fails, TimedOutError, DiskFullError.
    """
    program = shutil.which("mmdebstrap")
    if program is None:
        raise BaseNotFoundError(
            "A Debian base is made by mmdebstrap, which is not installed; run "
            "`apt-get install mmdebstrap` on the worker or name a registry image as the base."
        )
    with tempfile.TemporaryDirectory(prefix="kitbag-mmdebstrap-") as folder:
        process = subprocess.Popen(
            [program, *mmdebstrap_arguments(Path(folder), packages, sources), suite, "-", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(source_date_epoch),
            umask=0o022,
            start_new_session=True,
        )
        with _Watched(process, sources, say, timeout_s) as watched:
            try:
                layer = compress(watched.output, target)
            except OSError as error:
                raise DiskFullError(
                    f"The layer can't be written ({error.strerror}); free some space in the cache "
                    "folder."
                ) from error
    return layer


def _environment(source_date_epoch: int) -> dict[str, str]:
    """What packages' scripts may know of the worker: nothing that's secret or that changes them."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    fixed = {"PATH": path, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return kept | fixed | {"SOURCE_DATE_EPOCH": str(source_date_epoch)}


def mmdebstrap_arguments(
    folder: Path, packages: Sequence[str], sources: Sequence[Source]
) -> list[str]:
    """Options of mmdebstrap, with the files they name written to `folder`.

    Without root mmdebstrap works as another user, who must be able to read them too.
    """
    folder.chmod(0o755)
    (folder / "sources.list").write_text("".join(f"{s.line(public=True)}\n" for s in sources))
    finish = files("builder.bases").joinpath("finish.sh").read_bytes()
    (folder / "finish.sh").write_bytes(finish)
    (folder / "apt.conf").write_text(acquire_settings())
    hook = f'sh {shlex.quote(str(folder / "finish.sh"))} "$1" {shlex.quote(str(folder))}'
    return [
        "--mode=auto",
        "--variant=minbase",
        "--format=tar",
        "--skip=output/dev",
        f"--include={','.join(sorted({*ESSENTIAL, *packages}))}",
        f"--aptopt={folder / 'apt.conf'}",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _UNWANTED),
        *(f"--dpkgopt=path-include={pattern}" for pattern in _WANTED),
        f"--customize-hook={hook}",
    ]


class _Watched:
    """A running mmdebstrap: its lines are passed on; it ends with the block or when time is up."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        sources: Sequence[Source],
        say: Callable[[str], None],
        timeout_s: float,
    ) -> None:
        assert process.stdin and process.stdout and process.stderr
        self.output: IO[bytes] = process.stdout
        self._process = process
        self._sources = sources
        self._say = say
        self._timeout_s = timeout_s
        self._last: deque[str] = deque(maxlen=20)
        self._late = False
        self._reader = threading.Thread(target=self._read, args=(process.stderr,), daemon=True)
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._reader.start()
        self._timer.start()
        assert self._process.stdin
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write("".join(f"{s.line(public=False)}\n" for s in self._sources).encode())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stop()
        code = self._process.wait()
        self._timer.cancel()
        self._reader.join()
        self.output.close()
        if kind is not None:
            return
        if self._late:
            raise TimedOutError(
                f"mmdebstrap was stopped after {self._timeout_s:.0f} s; "
                "check the speed of the Debian mirror, then try again."
            )
        if code:
            raise self._failure()

    def _read(self, lines: IO[bytes]) -> None:
        for raw in lines:
            line = raw[:2000].decode("utf-8", "replace").rstrip()
            for source in self._sources:
                line = line.replace(source.uri, source.public_uri)
            self._last.append(line)
            self._say(line)

    def _expire(self) -> None:
        self._late = True
        self._stop()

    def _stop(self) -> None:
        """End mmdebstrap and let it unmount and remove what it made."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _failure(self) -> BaseNotFoundError | IndexUnreachableError | DiskFullError:
        said = "\n".join(self._last)
        errors = [line for line in self._last if line.startswith("E: ")] or list(self._last)[-1:]
        reason = errors[0].removeprefix("E: ") if errors else "no reason given"
        if "No space left on device" in said:
            return DiskFullError(
                "No space is left for making the Debian root; free some where TMPDIR points."
            )
        if any(
            sign in said for sign in ("Failed to fetch", "Could not resolve", "Could not connect")
        ):
            return IndexUnreachableError(
                f"mmdebstrap could not fetch from the Debian mirror ({reason}); "
                "check /etc/apt/sources.list and the network, then try again."
            )
        return BaseNotFoundError(
            f"mmdebstrap could not make the root ({reason}); the lines above say why."
        )
