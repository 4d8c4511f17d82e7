"""Rollouts to git repositories: real bare ones over real HTTP, and writers that are quicker."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from conftest import needed
from rig.git import TOKEN, USER, GitServer, Repository
from rig.http import QuietHandler, serve
from rig.process import program, temp_dir
from sqlalchemy import update

from catalog import builds, mirrors, rollouts, runs, targets
from catalog.engine import migrate, reading, writing
from catalog.rollout_models import RolloutResult, RolloutRun, RunState
from catalog.states import BuildState
from catalog.target_models import Mirror, MirrorState
from catalog.types import utcnow
from catalog.versions import VersionFacts
from worker import rolling
from worker.services import Services
from worker.settings import WorkerSettings

ENV = "hep/3dgan"
ROBOT = "Robot <robot@hep.example>"
REPO = f"registry.example/{ENV}"
FIRST, SECOND, THIRD = (f"{REPO}@sha256:{digit * 64}" for digit in "123")

DEPLOYMENT = b"""\
# the generator\r
apiVersion: apps/v1\r
kind: Deployment\r
metadata: {name: gan}\r
spec:\r
  template:\r
    spec:\r
      containers:\r
      - name: gan\r
        image: "IMAGE"   # by kitbag\r
      - {name: proxy, image: nginx:1}\r
"""


def manifest(image: str) -> bytes:
    return DEPLOYMENT.replace(b"IMAGE", image.encode())


class Site:
    """A catalog and a worker's services, with one environment."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        url = f"sqlite:///{folder}/catalog.db"
        migrate(url)
        known = {"local": True, "rollout_retry_s": 600} | settings
        self.kit = Services(WorkerSettings(database_url=url, data=folder, **known))
        self.engine = self.kit.engine
        self._keys = itertools.count()

    def version(self, image: str, *packages: str, environment: str = ENV) -> None:
        """One more version with these NAME==VERSION, as a build makes it."""
        key = f"key-{next(self._keys)}"
        listed = [dict(zip(("name", "version"), one.split("=="), strict=True)) for one in packages]
        with writing(self.engine) as session:
            build, _ = builds.request_build(
                session, environment=environment, request={}, request_key=key
            )
            claimed = runs.claim(session, build.id, "w")
            assert claimed is not None
            for state in (BuildState.BUILDING, BuildState.PUSHING):
                runs.transition(session, build.id, state, attempt=claimed.attempt)
            facts = VersionFacts(
                image=image,
                digest=image.partition("@")[2],
                content_key=key,
                python="3.11.2",
                accelerator="cpu",
                base_name="auto",
                base_digest="sha256:" + "b" * 64,
                size_bytes=1,
                platform="linux/amd64",
                packages=listed,
            )
            runs.finish_ready(session, build.id, facts, attempt=claimed.attempt)

    def register(self, url: str, *paths: str, environment: str = ENV, **more: Any) -> int:
        git = {"url": url, "branch": "main", "paths": list(paths) or ["."]} | more
        container = git.pop("container", None)
        with writing(self.engine) as session:
            order = rollouts.Order("", git=git, container=container)
            return rollouts.add(session, environment, order).id

    def work(self) -> None:
        """Do whatever is due, as a sweep has it done."""
        for run in rolling.due(self.kit):
            rolling.roll(self.kit, run)

    def last(self) -> RolloutRun:
        with reading(self.engine) as session:
            return session.query(RolloutRun).order_by(RolloutRun.id.desc()).first()

    def results(self) -> list[tuple[str, str, str]]:
        """Kind, state and sentence of what became of the last run."""
        with reading(self.engine) as session:
            found = session.query(RolloutResult).filter_by(run_id=self.last().id).all()
            return [(one.kind, one.state, one.say) for one in found]

    def hurry(self) -> None:
        """Let what waits be due now."""
        with writing(self.engine) as session:
            session.execute(update(RolloutRun).values(due_at=utcnow()))

    def again(self, rollout_id: int) -> None:
        with writing(self.engine) as session:
            rollouts.again(session, ENV, rollout_id)


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(**settings: Any) -> Site:
        folder = tmp_path / f"site-{len(made)}"
        folder.mkdir()
        made.append(Site(folder, **settings))
        return made[-1]

    yield make
    for site in made:
        site.kit.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    site = make_site()
    site.version(FIRST, "torch==2.3.0", "numpy==1.26.4", "pillow==10.0.0")
    site.version(SECOND, "torch==2.4.0", "numpy==1.26.4", "humanize==4.9.0")
    return site


_numbers = itertools.count()


@pytest.fixture
def repository(git_server: GitServer) -> Repository:
    """A repository whose manifests name the first version, here and there."""
    files = {
        "deploy/gan.yaml": manifest(FIRST),
        "deploy/notes.md": f"runs {FIRST}\n",
        "other/gan.yaml": manifest(FIRST),
    }
    return git_server.repository(f"gitops-{next(_numbers)}", files)


def shown(repository: Repository, path: str, branch: str = "main") -> bytes:
    return git(repository, "cat-file", "blob", f"{branch}:{path}")


def git(repository: Repository, *args: str) -> bytes:
    return subprocess.run(
        ["git", *args], cwd=repository.path, capture_output=True, check=True
    ).stdout


def subjects(repository: Repository, branch: str = "main") -> list[str]:
    return git(repository, "log", "--format=%s", branch).decode().splitlines()


def test_a_version_is_committed_to_the_paths_of_the_rule_and_no_other_byte_changes(
    site: Site, repository: Repository
) -> None:
    before = repository.head
    site.register(repository.http_url, "deploy")
    site.work()
    assert (site.last().state, site.last().problem) == (RunState.DONE, "")
    assert shown(repository, "deploy/gan.yaml") == manifest(SECOND)
    changed = git(repository, "diff", "--name-only", before, "main").decode().split()
    assert changed == ["deploy/gan.yaml"]
    [(kind, state, say)] = site.results()
    assert (kind, state) == ("Commit", "done") and say.startswith("hep/3dgan:2: torch 2.3.0")
    assert site.last().state is RunState.DONE


def test_the_commit_says_which_packages_changed(site: Site, repository: Repository) -> None:
    site.register(repository.http_url, "deploy")
    site.work()
    message = git(repository, "log", "-1", "--format=%B").decode()
    assert message.splitlines()[0] == (
        "hep/3dgan:2: torch 2.3.0 -> 2.4.0, humanize 4.9.0 added, pillow removed"
    )
    for part in (
        "hep/3dgan:2 instead of hep/3dgan:1",
        "Added:\n    humanize 4.9.0",
        "Removed:\n    pillow 10.0.0",
        "Changed:\n    torch 2.3.0 -> 2.4.0",
        "Files:\n    deploy/gan.yaml",
        f"Kitbag-Image: {SECOND}",
    ):
        assert part in message
    assert "numpy" not in message
    author = git(repository, "log", "-1", "--format=%an <%ae>").decode().strip()
    assert author == "Kitbag <kitbag@localhost>"


def test_what_is_named_already_makes_no_commit(site: Site, repository: Repository) -> None:
    rollout = site.register(repository.http_url, "deploy")
    site.work()
    head = git(repository, "rev-parse", "main")
    site.again(rollout)
    site.work()
    assert git(repository, "rev-parse", "main") == head
    assert [state for _, state, _ in site.results()][-1] == "same"


def test_references_and_annotations_follow_and_fixed_ones_stay(
    site: Site, git_server: GitServer
) -> None:
    alone = manifest("old:1").replace(b"      - {name: proxy, image: nginx:1}\r\n", b"")
    annotated = alone.replace(
        b"{name: gan}", b"{name: gan, annotations: {kitbag.dev/environment: WHAT}}"
    )
    files = {
        "a.yaml": manifest("kitbag://hep/3dgan"),
        "b.yaml": manifest("kitbag://hep/3dgan:1"),
        "c.yaml": manifest("kitbag://hep/other"),
        "d.yaml": annotated.replace(b"WHAT", b"hep.3dgan"),
        "e.yaml": annotated.replace(b"WHAT", b"hep.3dgan.1").replace(b"old:1", FIRST.encode()),
        "kustomization.yaml": (
            "kind: Kustomization\nimages:\n- {name: nginx, newTag: '1'}\n"
            f"- name: gan\n  newName: {REPO}\n  digest: sha256:{'1' * 64}\n"
        ).encode(),
        "f.yaml": manifest(f"mirror.example/gan@sha256:{'1' * 64}") + b"# hep/3dgan\n",
        ".hidden/g.yaml": manifest(FIRST),
    }
    made = git_server.repository(f"gitops-{next(_numbers)}", files)
    site.register(made.http_url)
    site.work()
    assert shown(made, "a.yaml") == manifest(SECOND)
    assert SECOND.encode() in shown(made, "d.yaml")
    kustomization = files["kustomization.yaml"].replace(b"1" * 64, b"2" * 64)
    assert shown(made, "kustomization.yaml") == kustomization
    assert shown(made, "f.yaml").startswith(manifest(SECOND))
    for name in ("b.yaml", "c.yaml", "e.yaml", ".hidden/g.yaml"):
        assert shown(made, name) == files[name], name


def test_a_file_that_can_not_be_pinned_is_told_and_the_others_go_on(
    site: Site, repository: Repository
) -> None:
    repository.commit({"deploy/chart.yaml": "image: {{ .Values.image }} # hep/3dgan\nx: {{ y }}\n"})
    site.register(repository.http_url, "deploy", "nowhere")
    site.work()
    assert shown(repository, "deploy/gan.yaml") == manifest(SECOND)
    told = {(kind, state): say for kind, state, say in site.results()}
    assert ("Commit", "done") in told and ("File", "cant") in told
    whys = " ".join(say for kind, _, say in site.results() if kind == "File")
    assert "chart.yaml" in whys and "there is nothing at nowhere" in whys


def test_who_loses_the_race_takes_the_others_commit_and_goes_on_top(
    site: Site, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.gitops.repository import Repository as Remote

    races = iter(range(3))
    push = Remote.push

    def late(self: Remote, *args: Any, **more: Any) -> bool:
        """A person pushes between what Kitbag read and what it pushes."""
        number = next(races, None)
        if number is not None:
            repository.commit({f"deploy/person-{number}.yaml": "a: b\n"}, f"person {number}")
        return push(self, *args, **more)

    monkeypatch.setattr(Remote, "push", late)
    site.register(repository.http_url, "deploy")
    site.work()
    assert site.last().state is RunState.DONE
    found = subjects(repository)
    assert found[0].startswith("hep/3dgan:2")
    assert found[1:4] == ["person 2", "person 1", "person 0"]


def test_a_race_that_the_server_decides_is_tried_again(site: Site, repository: Repository) -> None:
    """The other's commit comes when Kitbag's objects are there and its ref isn't moved yet."""
    other = repository.commit({"theirs.yaml": "a: b\n"}, "theirs", ref="theirs")
    hook = repository.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        f"#!/bin/sh\nif mkdir {repository.path}/once 2>/dev/null; then\n"
        f"  unset GIT_QUARANTINE_PATH\n  git update-ref refs/heads/main {other}\nfi\n"
    )
    hook.chmod(0o755)
    site.register(repository.http_url, "deploy")
    site.work()
    assert (repository.path / "once").is_dir()
    assert site.last().state is RunState.DONE
    assert subjects(repository)[1] == "theirs"


def test_two_environments_and_a_person_write_at_once_and_nothing_is_lost(
    make_site: Callable[..., Site], git_server: GitServer
) -> None:
    names = ("hep/one", "hep/two")
    images = {name: [f"registry.example/{name}@sha256:{n * 64}" for n in "12"] for name in names}
    files = {f"{name[4:]}.yaml": manifest(images[name][0]) for name in names}
    made = git_server.repository(f"gitops-{next(_numbers)}", files)
    sites = []
    for name in names:
        site = make_site()
        for image in images[name]:
            site.version(image, environment=name)
        site.register(made.http_url, environment=name)
        sites.append(site)
    writers = [threading.Thread(target=site.work) for site in sites]
    for writer in writers:
        writer.start()
    written = 0
    while any(writer.is_alive() for writer in writers) and written < 5:
        made.git("fetch", "-q", "origin")
        made.git("rebase", "-q", "origin/main")
        (made.work_tree / f"person-{written}").write_text("x")
        made.git("add", "--all")
        made.git("commit", "-q", "-m", f"person {written}")
        for _ in range(100):
            made.git("fetch", "-q", "origin")
            made.git("rebase", "-q", "origin/main")
            try:
                made.git("push", "-q", "origin", "HEAD:main")
            except RuntimeError:
                continue
            break
        written += 1
    for writer in writers:
        writer.join()
    for site in sites:
        site.hurry()
        site.work()
    for name in names:
        assert shown(made, f"{name[4:]}.yaml") == manifest(images[name][1])
    for number in range(written):
        assert shown(made, f"person-{number}") == b"x"


def test_a_worker_that_died_after_its_push_has_its_run_ended_by_another(
    site: Site, repository: Repository, dead_process: str
) -> None:
    site.register(repository.http_url, "deploy")
    site.work()
    with writing(site.engine) as session:
        session.execute(
            update(RolloutRun).values(
                state=RunState.RUNNING, worker=dead_process, heartbeat_at=utcnow(), ended_at=None
            )
        )
    site.work()
    assert site.last().state is RunState.DONE
    assert len([one for one in subjects(repository) if one.startswith("hep/3dgan:2")]) == 1


def test_a_newer_version_goes_instead_of_one_that_waits(site: Site, repository: Repository) -> None:
    site.register(repository.http_url, "deploy")
    site.version(THIRD, "torch==2.5.0")
    site.work()
    assert shown(repository, "deploy/gan.yaml") == manifest(THIRD)
    assert len(subjects(repository)) == 2


def signed_by(
    make_site: Callable[..., Site], repository: Repository, folder: Path, key: str
) -> None:
    """Commit with a secret that signs with this key, as its author."""
    where = repository.http_url.rpartition("/")[0]
    secret(folder, "robot", url=where, password="x", sign=key, author=ROBOT)
    site = make_site(secrets=folder / "secrets")
    site.version(FIRST)
    site.version(SECOND)
    site.register(repository.http_url, "deploy", secret="robot")
    site.work()
    assert site.last().problem == ""
    assert git(repository, "log", "-1", "--format=%an <%ae>").decode().strip() == ROBOT


def test_commits_are_signed_with_a_key_of_openssh(
    make_site: Callable[..., Site], repository: Repository, tmp_path: Path
) -> None:
    path = tmp_path / "signing-key"
    with needed():
        keygen = program("ssh-keygen", "openssh-client")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"robot@hep.example {path.with_suffix('.pub').read_text()}")
    signed_by(make_site, repository, tmp_path, path.read_text())
    git(repository, "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", "main")


@pytest.fixture
def gpg(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """gpg with a home of its own, which git uses too; what it leaves running ends."""
    with needed():
        binary = program("gpg", "gnupg")
    with temp_dir("gpg") as home:  # a short path: its agent has a socket there
        monkeypatch.setenv("GNUPGHOME", str(home))
        home.chmod(0o700)

        def run(*args: str) -> str:
            command = [binary, "--batch", "--quiet", *args]
            return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)

        yield run
        subprocess.run(["gpgconf", "--kill", "all"], check=False)


def test_commits_are_signed_with_a_key_of_gnupg(
    make_site: Callable[..., Site],
    repository: Repository,
    tmp_path: Path,
    gpg: Callable[..., str],
) -> None:
    gpg("--passphrase", "", "--quick-generate-key", ROBOT, "ed25519")
    signed_by(make_site, repository, tmp_path, gpg("--armor", "--export-secret-keys"))
    git(repository, "verify-commit", "main")


def test_a_key_that_is_none_is_told(
    make_site: Callable[..., Site], repository: Repository, tmp_path: Path
) -> None:
    where = repository.http_url.rpartition("/")[0]
    secret(tmp_path, "robot", url=where, password="x", sign="not a key")
    site = make_site(secrets=tmp_path / "secrets")
    site.version(FIRST)
    site.version(SECOND)
    site.register(repository.http_url, "deploy", secret="robot")
    site.work()
    assert "signing key can't be used" in site.last().problem
    assert subjects(repository) == ["A change"]


def secret(folder: Path, name: str, **fields: Any) -> None:
    place = folder / "secrets"
    place.mkdir(exist_ok=True)
    lines = ['use = "gitops"']
    for key, value in fields.items():
        text = json.dumps(value) if isinstance(value, list) else f'"""{value}"""'
        lines.append(f"{key} = {text}")
    (place / f"{name}.toml").write_text("\n".join(lines))


def test_a_named_secret_opens_its_repositories_for_its_namespaces_alone(
    make_site: Callable[..., Site],
    git_server: GitServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = f"private/gitops-{next(_numbers)}"
    made = git_server.repository(name, {"gan.yaml": manifest(FIRST)})
    where = made.http_url.split("/private/")[0]
    secret(tmp_path, "robot", url=where, username=USER, password=TOKEN, namespaces=["hep"],
           repositories=[f"{name}"])  # fmt: skip
    secret(tmp_path, "narrow", url=where, username=USER, password=TOKEN, repositories=["hep/*"])
    secret(tmp_path, "theirs", url=where, username=USER, password=TOKEN, namespaces=["alice"])
    site = make_site(secrets=tmp_path / "secrets")
    site.version(FIRST)
    site.version(SECOND)
    refused = [site.register(made.http_url, secret=one) for one in (None, "narrow", "theirs", "no")]
    site.work()
    for rollout_id in refused:
        with reading(site.engine) as session:
            _, run = rollouts.get(session, ENV, rollout_id)
        assert run is not None and run.state is RunState.PENDING and run.problem, rollout_id
    assert subjects(made) == ["A change"]
    site.register(made.http_url, secret="robot")
    site.work()
    assert shown(made, "gan.yaml") == manifest(SECOND)
    with reading(site.engine) as session:
        kept = [row.problem for row in session.query(RolloutRun)]
        kept += [row.say for row in session.query(RolloutResult)]
    assert TOKEN not in caplog.text + " ".join(kept)


def test_a_branch_that_refuses_is_told_and_tried_again(site: Site, repository: Repository) -> None:
    hook = repository.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    site.register(repository.http_url, "deploy")
    site.work()
    run = site.last()
    assert run.state is RunState.PENDING and run.tries == 1
    assert "refuses a push to main" in run.problem and "pull requests" in run.problem
    assert rolling.due(site.kit) == []
    hook.unlink()
    site.hurry()
    site.work()
    assert site.last().state is RunState.DONE and site.last().problem == ""


@pytest.mark.parametrize(
    ("url", "branch", "told"),
    [
        ("{server}/no-such-repository.git", "main", "no git repository"),
        ("http://127.0.0.1:9/x.git", "main", "did not answer"),
        ("{repository}", "no-such-branch", "has no branch 'no-such-branch'"),
    ],
)
def test_a_repository_that_is_not_there_yet_is_waited_for(
    site: Site, repository: Repository, url: str, branch: str, told: str
) -> None:
    server = repository.http_url.rpartition("/")[0]
    where = url.format(server=server, repository=repository.http_url)
    site.register(where, branch=branch)
    site.work()
    assert site.last().state is RunState.PENDING and told in site.last().problem


def test_a_target_is_named_once_the_version_is_there(site: Site, repository: Repository) -> None:
    with writing(site.engine) as session:
        target = targets.add(
            session, "hep", "gcp", "registry://gcr.example/near", pull_secret="gcp-pull"
        )
        mirrors.plan_newest(session, target)
    site.register(repository.http_url, "deploy", target="gcp")
    site.work()
    assert site.last().state is RunState.PENDING and "gcr.example/near" in site.last().problem
    assert subjects(repository) == ["A change"]
    with writing(site.engine) as session:
        session.execute(update(Mirror).values(state=MirrorState.DONE))
    site.hurry()
    site.work()
    text = shown(repository, "deploy/gan.yaml").decode()
    assert f"gcr.example/near/{ENV}@sha256:{'2' * 64}" in text and "gcp-pull" in text


@dataclass
class ForgeServer:
    """The pull requests of a forge, in its own words; `calls` are METHOD PATH, in their order."""

    name: str
    token: str
    url: str = ""
    down: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


WORDS = {
    "github": ("/api/v3/repos/{}/pulls", "authorization", "Bearer "),
    "gitea": ("/api/v1/repos/{}/pulls", "authorization", "token "),
    "gitlab": ("/api/v4/projects/{}/merge_requests", "private-token", ""),
    "bitbucket": ("/2.0/repositories/{}/pullrequests", "authorization", "Bearer "),
}


@pytest.fixture
def forge(request: pytest.FixtureRequest) -> Iterator[ForgeServer]:
    kept = ForgeServer(getattr(request, "param", "gitea"), "t0ken-of-the-forge")

    class Handler(QuietHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            kept.calls.append(f"{self.command} {url.path}")
            _, header, prefix = WORDS[kept.name]
            if kept.down or self.headers.get(header) != prefix + kept.token:
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            told = _forge(kept, self.command, url.path, parse_qs(url.query), body)
            data = json.dumps(told).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with serve(Handler) as port:
        kept.url = f"http://127.0.0.1:{port}"
        yield kept


def _forge(kept: ForgeServer, method: str, path: str, asked: Any, body: bytes) -> Any:
    """What the forge answers, by its documented members."""
    bitbucket, gitlab = kept.name == "bitbucket", kept.name == "gitlab"
    open_now = [one for one in kept.requests if one["open"]]
    if method == "GET":
        if bitbucket:
            assert 'source.branch.name = "kitbag/hep/3dgan-1"' in asked["q"][0]
            return {"values": [one["json"] for one in open_now]}
        if gitlab:
            assert asked["source_branch"] == ["kitbag/hep/3dgan-1"]
        return [one["json"] for one in open_now]
    said = json.loads(body)
    if method == "POST" and path.endswith(("/pulls", "/merge_requests", "/pullrequests")):
        number = len(kept.requests) + 1
        link = f"{kept.url}/pull/{number}"
        if bitbucket:
            ends = (said["source"]["branch"]["name"], said["destination"]["branch"]["name"])
        elif gitlab:
            ends = (said["source_branch"], said["target_branch"])
        else:
            ends = (said["head"], said["base"])
        known: dict[str, Any] = {
            "number": number,
            "iid": number,
            "id": number,
            "html_url": link,
            "web_url": link,
            "links": {"html": {"href": link}},
            "head": {"ref": ends[0], "repo_id": 1},
            "base": {"ref": ends[1], "repo_id": 1},
        }
        kept.requests.append({"open": True, "json": known, "said": said})
        return known
    match = re.search(r"/(\d+)(/decline)?$", path)
    assert match is not None
    there = kept.requests[int(match[1]) - 1]
    there["said"] = there["said"] | said
    closed = said.get("state") == "closed" or said.get("state_event") == "close"
    if match[2] or closed:
        there["open"] = False
    return there["json"]


def propose(make_site: Callable[..., Site], repository: Repository, forge: ForgeServer) -> Site:
    """A site that proposes to the repository; the secret is in a folder beside its data."""
    folder = Path(str(repository.path)).parent / f"{repository.name}-secrets"
    folder.mkdir()
    where = repository.http_url.rpartition("/")[0]
    secret(folder, "robot", url=where, password=forge.token, api=forge.url)
    site = make_site(secrets=folder / "secrets")
    site.version(FIRST, "torch==2.3.0")
    site.version(SECOND, "torch==2.4.0")
    site.register(
        repository.http_url, "deploy", pull_request=True, forge=forge.name, secret="robot"
    )
    return site


HEAD = "kitbag/hep/3dgan-1"


@pytest.mark.parametrize("forge", WORDS, indirect=True)
def test_a_pull_request_is_opened_said_anew_and_closed(
    make_site: Callable[..., Site], repository: Repository, forge: ForgeServer
) -> None:
    site = propose(make_site, repository, forge)
    site.work()
    assert site.last().problem == ""
    assert shown(repository, "deploy/gan.yaml") == manifest(FIRST)
    assert shown(repository, "deploy/gan.yaml", HEAD) == manifest(SECOND)
    [made] = forge.requests
    assert made["said"]["title"] == "hep/3dgan:2: torch 2.3.0 -> 2.4.0"
    body = made["said"].get("description") or made["said"].get("body")
    assert "torch 2.3.0 -> 2.4.0" in body and "deploy/gan.yaml" in body
    [(kind, state, say)] = site.results()
    assert (kind, state) == ("PullRequest", "done") and f"{forge.url}/pull/1" in say
    path = WORDS[forge.name][0].format(repository.name)
    assert all(unquote(call.partition(" ")[2]).startswith(path) for call in forge.calls)

    site.version(THIRD, "torch==2.5.0")
    site.work()
    [made] = forge.requests
    assert made["said"]["title"] == "hep/3dgan:3: torch 2.3.0 -> 2.5.0"
    assert shown(repository, "deploy/gan.yaml", HEAD) == manifest(THIRD)
    assert len(subjects(repository, HEAD)) == 2

    repository.commit({"deploy/gan.yaml": manifest(THIRD)}, "by hand")
    site.again(1)
    site.work()
    assert not made["open"]
    assert site.last().state is RunState.DONE


def test_doing_a_proposal_again_pushes_nothing_and_opens_no_second_one(
    make_site: Callable[..., Site], repository: Repository, forge: ForgeServer
) -> None:
    site = propose(make_site, repository, forge)
    site.work()
    head = git(repository, "rev-parse", HEAD)
    site.again(1)
    site.work()
    assert git(repository, "rev-parse", HEAD) == head
    assert len(forge.requests) == 1


def test_a_forge_that_is_down_is_asked_again_after_the_push(
    make_site: Callable[..., Site],
    repository: Repository,
    forge: ForgeServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    forge.down = True
    site = propose(make_site, repository, forge)
    site.work()
    assert site.last().state is RunState.PENDING and "503" in site.last().problem
    assert shown(repository, "deploy/gan.yaml", HEAD) == manifest(SECOND)
    forge.down = False
    site.hurry()
    site.work()
    assert site.last().state is RunState.DONE and len(forge.requests) == 1
    assert forge.token not in caplog.text + site.last().problem


def test_what_a_person_committed_to_kitbags_branch_is_not_written_over(
    make_site: Callable[..., Site], repository: Repository, forge: ForgeServer
) -> None:
    site = propose(make_site, repository, forge)
    site.work()
    repository.git("fetch", "-q", "origin")
    repository.git("checkout", "-q", "-B", "theirs", f"origin/{HEAD}")
    (repository.work_tree / "extra").write_text("x")
    repository.git("add", "--all")
    repository.git("commit", "-q", "-m", "a person's own change")
    repository.git("push", "-q", "origin", f"HEAD:{HEAD}")
    site.version(THIRD, "torch==2.5.0")
    site.work()
    assert shown(repository, "extra", HEAD) == b"x"
    assert [(kind, state) for kind, state, _ in site.results()] == [("Branch", "conflict")]
