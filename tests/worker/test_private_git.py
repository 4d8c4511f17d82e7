"""Private repositories by the operator's secrets, which nobody ever gets to see."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from rig.git import GitServer
from rig.http import QuietHandler, serve
from rig.ssh import SshServer

from catalog.build_models import EventKind
from catalog.states import BuildState
from worker.secrets import for_git

from .conftest import Site

Make = Callable[..., Site]
USER, TOKEN = "robot", "t0ken-of-the-git-host"


@pytest.fixture
def private_git(git_server: GitServer) -> Iterator[str]:
    """The address of a git host that wants a login, in front of the rig's."""
    wanted = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
    behind = git_server.repository(f"anchor-{uuid4()}", {"a": "b"}).http_url.rpartition("/")[0]

    class Gate(QuietHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self._pass(self.rfile.read(length) if length else None)

        def _pass(self, body: bytes | None) -> None:
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=git")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = urllib.request.Request(behind + self.path, data=body)
            for name in ("Content-Type", "Content-Encoding", "Git-Protocol", "Accept"):
                if name in self.headers:
                    asked.add_header(name, self.headers[name])
            try:
                with urllib.request.urlopen(asked, timeout=30) as answer:
                    status, kind, data = (
                        answer.status,
                        answer.headers["Content-Type"],
                        answer.read(),
                    )
            except urllib.error.HTTPError as error:
                status, kind, data = error.code, "text/plain", error.read()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with serve(Gate) as port:
        yield f"http://127.0.0.1:{port}"


def secret(folder: Path, name: str, **fields: str) -> None:
    folder.mkdir(exist_ok=True)
    lines = [f'{key} = """{value}"""' for key, value in fields.items() if key != "namespaces"]
    if "namespaces" in fields:
        lines.append(f"namespaces = {fields['namespaces']}")
    (folder / name).write_text("\n".join(lines))


def test_a_secret_opens_its_host_for_its_namespaces_alone(
    make_site: Make, git_server: GitServer, private_git: str, tmp_path: Path
) -> None:
    git_server.repository("closed", {"requirements.txt": "one==1.0\n"})
    folder = tmp_path / "secrets"
    secret(folder, "corp", use="git", url=private_git, username=USER, password=TOKEN,
           namespaces='["alice"]')  # fmt: skip
    site = make_site(secrets=folder)
    source = {"git": {"url": f"{private_git}/closed.git"}}
    row = site.work("", environment="alice/closed", source=source)
    assert row.state is BuildState.READY, row.error
    other = site.work("", environment="mallory/closed", source=source)
    assert other.state is BuildState.FAILED
    assert (other.error or {})["type"] == "source-not-found"
    told = [str((event.message, event.data)) for event in site.events(row.id)]
    assert not any(TOKEN in text for text in [*told, str(row.error), str(row.request)])
    for path in site.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("secret_url", "asked", "fits"),
    [
        ("https://git.corp.example", "https://git.corp.example/a/b.git", True),
        ("https://git.corp.example", "git+https://git.corp.example/a/b.git", True),
        ("https://git.corp.example", "https://git.corp.example:8443/a/b.git", False),
        ("https://git.corp.example", "https://git.corp.example.evil.example/a", False),
        ("https://git.corp.example", "http://git.corp.example/a", False),
        ("ssh://git.corp.example", "git@git.corp.example:a/b.git", True),
        ("ssh://git.corp.example", "ssh://git@git.corp.example/a/b.git", True),
        ("ssh://git.corp.example:2222", "git@git.corp.example:a/b.git", False),
    ],
)
def test_a_secret_is_for_one_scheme_host_and_port(
    make_site: Make, tmp_path: Path, secret_url: str, asked: str, fits: bool
) -> None:
    folder = tmp_path / "secrets"
    holds = {"key": "-----KEY-----"} if secret_url.startswith("ssh") else {"password": TOKEN}
    secret(folder, "corp", use="git", url=secret_url, **holds)
    settings = make_site(secrets=folder).settings
    found = for_git(settings, "alice", asked)
    assert (found is not None) == fits


def test_a_deploy_key_opens_a_repository_over_ssh_and_is_nowhere_afterwards(
    make_site: Make, git_server: GitServer, ssh_server: SshServer, tmp_path: Path
) -> None:
    repository = git_server.repository("by-key", {"requirements.txt": "one==1.0\n"})
    folder = tmp_path / "secrets"
    key, url = ssh_server.key.read_text(), ssh_server.url(repository.path)
    host = f"ssh://127.0.0.1:{ssh_server.port}"
    secret(folder, "deploy", use="git", url=host, key=key, known_hosts=ssh_server.known_hosts,
           namespaces='["alice"]')  # fmt: skip
    site = make_site(secrets=folder)
    source = {"git": {"url": url, "ref": "main"}}
    row = site.work("", environment="alice/by-key", source=source)
    assert row.state is BuildState.READY, row.error
    assert row.commit == repository.head
    assert site.work("", environment="mallory/by-key", source=source).state is BuildState.FAILED
    inside = key.splitlines()[1]
    assert not any(inside in str((event.message, event.data)) for event in site.events(row.id))
    for path in site.folder.rglob("*"):
        if path.is_file():
            assert inside.encode() not in path.read_bytes(), path


def test_submodules_and_lfs_files_of_a_private_host_need_no_other_secret_and_show_none(
    make_site: Make, git_server: GitServer, private_git: str, tmp_path: Path
) -> None:
    more = git_server.lfs.put(b"two\n")
    top = git_server.repository(
        "with-parts",
        {
            "requirements.txt": "-r lib/pins.txt\n-r more.in\n",
            ".gitattributes": "*.in filter=lfs\n",
            "more.in": more,
        },
    )
    inner = git_server.repository("inner-pins", {"pins.txt": "one==1.0\n"})
    top.add_submodule("lib", inner.head, "../inner-pins.git")
    top.commit_index()
    folder = tmp_path / "secrets"
    secret(folder, "corp", use="git", url=private_git, username=USER, password=TOKEN,
           namespaces='["alice"]')  # fmt: skip
    site = make_site(secrets=folder)
    git = {"url": f"{private_git}/with-parts.git", "submodules": True, "lfs": True}
    row = site.work("", environment="alice/parts", source={"git": git})
    assert row.state is BuildState.READY, row.error
    told = [str((event.message, event.data)) for event in site.events(row.id)]
    assert not any(TOKEN in text for text in [*told, str(row.error), str(row.request)])
    for path in site.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_what_is_not_fetched_is_told_once(make_site: Make, git_server: GitServer) -> None:
    made = git_server.repository("not-whole", {"requirements.txt": "one==1.0\n"})
    made.add_submodule("lib", made.head, "../elsewhere.git")
    made.commit_index()
    site = make_site()
    row = site.work("", environment="alice/whole", source={"git": {"url": made.http_url}})
    assert row.state is BuildState.READY, row.error
    warnings = [each.message for each in site.events(row.id) if each.kind is EventKind.WARNING]
    assert [text for text in warnings if "submodule" in text] == [
        "'lib' is a submodule and left empty: ask for that with --submodules."
    ]


def test_a_persons_own_secret_goes_before_the_namespaces_and_is_nobody_elses(
    make_site: Make, git_server: GitServer, private_git: str, tmp_path: Path
) -> None:
    git_server.repository("personal", {"requirements.txt": "one==1.0\n"})
    folder = tmp_path / "secrets"
    secret(folder, "all", use="git", url=private_git, username=USER, password="wrong")
    secret(folder, "own", use="git", url=private_git, username=USER, password=TOKEN,
           namespaces='["alice"]\nusers = ["alice@corp.example"]')  # fmt: skip
    site = make_site(secrets=folder)
    source = {"git": {"url": f"{private_git}/personal.git"}}
    own = site.work("", environment="alice/own", source=source, created_by="alice@corp.example")
    assert own.state is BuildState.READY, own.error
    for user in ("mallory@corp.example", ""):
        other = site.work("", environment="alice/other", source=source, created_by=user)
        assert (other.error or {})["type"] == "source-not-found"
    settings = site.settings
    url = source["git"]["url"]
    assert for_git(settings, "bob", url, "alice@corp.example").username == USER  # type: ignore[union-attr]
    (folder / "odd").write_text(
        f'url = "{private_git}"\npassword = "x"\nusers = ["alice@corp.example"]\n'
    )
    assert for_git(settings, "alice", url, "nobody").password.get_secret_value() == "wrong"  # type: ignore[union-attr]


def test_an_indexs_secret_is_not_for_git(make_site: Make, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    secret(folder, "corp", url="https://git.corp.example", password=TOKEN)
    secret(folder, "odd", use="git", url="ssh://git.corp.example", password=TOKEN)
    settings = make_site(secrets=folder).settings
    assert for_git(settings, "alice", "https://git.corp.example/a") is None
    assert for_git(settings, "alice", "ssh://git.corp.example/a") is None
