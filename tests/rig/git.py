"""Git repositories served over HTTP (`git http-backend`) and by `git daemon`, with Git LFS."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

from rig.http import QuietHandler, serve
from rig.lfs import LfsServer
from rig.process import Daemon, accepts, free_port, program, temp_dir

USER = "reader"
TOKEN = "rig-git-token-c0ffee"  # what the folder `private/` is behind, as the password

# Nothing of the machine's own configuration, and the same commit ids on every run.
_ENV = {
    "PATH": os.environ.get("PATH", ""),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Alice",
    "GIT_AUTHOR_EMAIL": "alice@example.org",
    "GIT_COMMITTER_NAME": "Alice",
    "GIT_COMMITTER_EMAIL": "alice@example.org",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


class Repository:
    """A bare repository that is served, and the work tree that its commits come from."""

    def __init__(self, name: str, bare: Path, work: Path, http: str, daemon: str) -> None:
        self.name = name
        self.path = bare
        self._work = work
        self.http_url = f"{http}/{quote(name)}.git"
        self.git_url = f"{daemon}/{quote(name)}.git"
        self.file_url = bare.as_uri()

    def commit(
        self, files: Mapping[str, str | bytes | None], message: str = "A change", *, ref: str = ""
    ) -> str:
        """Write these files (None removes one), commit and publish; returns the commit id.

        `ref` names a branch to commit to, made from the current commit when it is new.
        """
        if ref:
            known = self.git("branch", "--list", ref).strip()
            self.git("checkout", "-q", ref) if known else self.git("checkout", "-q", "-b", ref)
        for name, content in files.items():
            path = self._work / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.commit_all(message)

    def commit_folder(self, folder: Path, message: str = "The folder as it is") -> str:
        """Copy a folder over the work tree, commit and publish; returns the commit id."""
        shutil.copytree(folder, self._work, dirs_exist_ok=True, symlinks=True)
        return self.commit_all(message)

    def commit_all(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "--force", "origin", "--all")
        return self.head

    def tag(self, name: str, *, annotated: bool = False) -> None:
        """Tag the current commit and publish the tag."""
        self.git("tag", *(["-a", "-m", name] if annotated else []), name)
        self.git("push", "-q", "--force", "origin", f"refs/tags/{name}")

    @property
    def work_tree(self) -> Path:
        """Where files may be put by hand (links, executables) before `commit_all`."""
        return self._work

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *args: str) -> str:
        """Run git in the work tree; returns what it printed."""
        return _git(self._work, *args)

    def add_submodule(self, path: str, commit: str, url: str) -> None:
        """Put a submodule into the index, as `git submodule add` would, for the next commit."""
        self.git("config", "--file", ".gitmodules", f"submodule.{path}.path", path)
        self.git("config", "--file", ".gitmodules", f"submodule.{path}.url", url)
        (self._work / path).mkdir(parents=True, exist_ok=True)
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")

    def commit_index(self, message: str = "A submodule") -> str:
        """Commit what is staged, and `.gitmodules`, and publish; returns the commit id."""
        self.git("add", ".gitmodules")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "--force", "origin", "--all")
        return self.head


class GitServer:
    """Repositories under one folder; those named `private/…` ask for a user and a token.

    `lfs` has the LFS files of all of them.
    """

    def __init__(self, folder: Path, http: str, daemon: str, lfs: LfsServer) -> None:
        self.lfs = lfs
        self._folder = folder
        self._http = http
        self._daemon = daemon

    def repository(
        self, name: str, files: Mapping[str, str | bytes | None] | Path | None = None
    ) -> Repository:
        """Make a repository with a branch `main`, from a folder or from files (path -> content)."""
        bare, work = self._folder / "served" / f"{name}.git", self._folder / "work" / name
        work.mkdir(parents=True)
        bare.parent.mkdir(parents=True, exist_ok=True)
        _git(self._folder, "init", "-q", "--bare", "-b", "main", str(bare))
        _git(self._folder, "init", "-q", "-b", "main", str(work))
        _git(work, "remote", "add", "origin", str(bare))
        _git(bare, "config", "http.receivepack", "true")  # else only logged-in users may push
        made = Repository(name, bare, work, self._http, self._daemon)
        if isinstance(files, Path):
            made.commit_folder(files)
        elif files is not None:
            made.commit(files)
        return made


@contextmanager
def git_server() -> Iterator[GitServer]:
    binary = program("git", "git")
    core = Path(_git(Path("/"), "--exec-path").strip())
    for part in ("git-http-backend", "git-daemon"):
        program(part, "git", also=[str(core)])
    port = free_port()
    with temp_dir("git") as folder:
        served = folder / "served"
        served.mkdir()
        daemon = Daemon(
            [
                binary,
                "daemon",
                "--reuseaddr",
                "--listen=127.0.0.1",
                f"--port={port}",
                "--export-all",
                f"--base-path={served}",
                str(served),
            ],
            log=folder / "log",
            ready=lambda: accepts(port),
            env=_ENV,
        )
        daemon.start()
        lfs = LfsServer()
        try:
            with serve(_backend(core / "git-http-backend", served, lfs)) as http_port:
                web, plain = f"http://127.0.0.1:{http_port}", f"git://127.0.0.1:{port}"
                yield GitServer(folder, web, plain, lfs)
        finally:
            daemon.stop()


def _backend(program: Path, served: Path, lfs: LfsServer) -> type[QuietHandler]:
    """A CGI adapter (RFC 3875) for `git http-backend`, beside an LFS server."""
    right = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()

    class Handler(QuietHandler):
        def do_PUT(self) -> None:  # noqa: N802 # the name that http.server looks for
            self.answer()

        def answer(self) -> None:
            url = urlsplit(self.path)
            allowed = self.headers.get("Authorization") == right
            if url.path.startswith("/private/") and not allowed:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            size = int(self.headers.get("Content-Length") or 0)
            if lfs.takes(url.path):
                lfs.answer(self, self._body(size))
                return
            env = _ENV | {
                "GIT_PROJECT_ROOT": str(served),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": url.path,
                "QUERY_STRING": url.query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            answer = subprocess.run(
                [program], input=self._body(size), env=env, capture_output=True, check=False
            ).stdout
            head, _, body = answer.partition(b"\r\n\r\n")
            headers = [line.partition(": ") for line in head.decode().split("\r\n") if line]
            status = next((v for k, _, v in headers if k == "Status"), "200 OK")
            self.send_response(int(status.split()[0]))
            for key, _, value in headers:
                if key != "Status":
                    self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def _body(self, size: int) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(size)
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            return body

    return Handler


def _git(folder: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=folder, env=_ENV, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout
