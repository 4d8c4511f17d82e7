"""Takes a version to a git repository: read, pin, commit, push; again if another was quicker.

Everything is decided anew from the branch as it is, so doing a run twice, or half of it again,
changes nothing: pins that are there make no commit, and a pull request that is open is said anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from builder.errors import BuildError
from builder.source.gitcommand import Git
from builder.source.model import SourcePolicy
from builder.source.url import read_url
from catalog import diff, mirrors, rollouts, versions
from catalog.engine import reading
from catalog.hook_models import Forge
from catalog.models import Version
from catalog.rollout_models import RolloutRun
from catalog.rollouts import Outcome
from kitbag import specs
from kitbag.live.change import State
from kitbag.refs import EnvRef
from worker import forges, secrets
from worker.fetching import with_secret
from worker.gitops import signing
from worker.gitops.message import TRAILER, Told
from worker.gitops.pins import New, pinned
from worker.gitops.repository import File, Repository, is_manifest
from worker.gitops.requests import ForgeError, Requests
from worker.secrets import SecretFile
from worker.services import Services

TIMES = 8
"""So many writers in a row may be quicker before the run is tried again later."""
_TIMEOUT_S = 120.0
_NAME_CHARS = 253


class GitopsError(Exception):
    """The run can't be done now; the message says why, and it is tried again later."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pins go: what `api.rollouts.schemas.GitPlace` keeps."""

    url: str
    branch: str
    paths: Sequence[str]
    pull_request: bool = False
    forge: Forge | None = None
    secret: str | None = None
    target: str | None = None

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Place:
        """As the catalog has it."""
        forge = kept.get("forge")
        return cls(**dict(kept) | {"forge": Forge(forge) if forge else None})


@dataclass(slots=True)
class _Read:
    """What the files of one commit come to; `refused` says by path why one can't be pinned."""

    changed: dict[File, bytes]
    before: set[str]
    refused: dict[str, str]


class GitRoll:
    """One run: a version's way to a repository."""

    def __init__(self, kit: Services, run: RolloutRun, alive: Callable[[], bool]) -> None:
        self._kit, self._run, self._alive = kit, run, alive
        assert run.rollout.git is not None
        self._place = Place.of(run.rollout.git)
        self._environment = run.rollout.environment.full_name
        self._head = f"kitbag/{self._environment}-{run.rollout_id}"
        self._kinds = specs.of_file(kit.settings.kinds)

    def go(self) -> list[Outcome] | None:
        """What became of it; None once there is a newer version.

        Raises GitopsError, and what `alive` and `catalog.mirrors.near` raise.
        """
        with reading(self._kit.engine) as session:
            new = self._new(rollouts.successors(session, self._run.version))
        try:
            with self._opened() as (policy, secret):
                for _ in range(TIMES):
                    if not self._alive():
                        return None
                    with Git(read_url(self._place.url, policy), policy) as git:
                        try:
                            found = self._once(git, secret, new)
                        finally:
                            signing.end(git, _text(secret and secret.sign))
                    if found is not None:
                        return found
        except (BuildError, ForgeError) as error:
            raise GitopsError(str(error)) from error
        raise GitopsError(
            f"Others keep pushing to {self._place.branch} of {self._place.url}: it is tried again."
        )

    def _new(self, successors: Mapping[str, str | None]) -> New:
        """The version as whoever reads the repository pulls it."""
        version, at = self._run.version, self._place.target
        ref = EnvRef.parse(f"{self._environment}:{version.number}")
        if not at:
            references: dict[str, str] = {}
            for image in version.images:
                references.setdefault(image.accelerator, image.reference)
            return New(ref, specs.Images(references), successors)
        with reading(self._kit.engine) as session:
            near = mirrors.near(session, version, at)
        there = {
            digest: None if image is None else near.named(image)
            for digest, image in successors.items()
        }
        pull = near.target.pull_secret
        return New(ref, specs.Images(near.references), there, (pull,) if pull else ())

    @contextmanager
    def _opened(self) -> Iterator[tuple[SourcePolicy, SecretFile | None]]:
        """How the repository is reached, with the secret that the rollout names."""
        sources = self._kit.sources()
        policy = dataclasses.replace(sources, timeout_s=_TIMEOUT_S)
        place = self._place
        if place.secret is None:
            yield policy, None
            return
        namespace = self._environment.partition("/")[0]
        secret = secrets.for_gitops(self._kit.settings, namespace, place.secret, place.url)
        if secret is None:
            raise GitopsError(
                f"No secret {place.secret} lets environments of {namespace} push to {place.url}:"
                " the operator keeps it, see docs/operate.md."
            )
        with with_secret(policy, secret, self._kit.scratch.path) as own:
            yield own, secret

    def _once(self, git: Git, secret: SecretFile | None, new: New) -> list[Outcome] | None:
        """One attempt on the branch as it is now; None if another writer was quicker."""
        repository = Repository(git)
        base = repository.fetch(self._place.branch)
        read = self._read(repository, base, new)
        refused = [_outcome("File", path, State.CANT, why) for path, why in read.refused.items()]
        if not read.changed:
            closed = self._withdrawn(secret)
            say = closed or f"{self._place.branch} names what this version has already"
            return [_outcome("Commit", self._place.branch, State.SAME, say), *refused]
        told = self._told(read, new)
        author = (secret and secret.author) or self._kit.settings.git_author
        signer = signing.signer(git, _text(secret and secret.sign))
        commit = repository.commit(base, read.changed, told.commit, author, signer)
        if not self._place.pull_request:
            if not self._still(repository, commit, self._place.branch):
                return None
            done = _outcome("Commit", commit, State.DONE, told.title, read.before)
            return [done, *refused]
        return self._proposed(repository, commit, told, secret, read, refused)

    def _read(self, repository: Repository, base: str, new: New) -> _Read:
        read = _Read({}, set(), {})
        files: dict[str, File] = {}
        for path in self._place.paths:
            there = repository.files(base, path)
            if not there:
                read.refused[path] = f"there is nothing at {path} in {self._place.branch}"
            files |= {each.path: each for each in there if is_manifest(each.path, path)}
        if not files:
            return read
        texts = [self._environment, self._environment.replace("/", ".")]
        for file in repository.naming(base, list(files.values()), texts):
            data = repository.read(file)
            try:
                done = pinned(data, file.path, new, self._run.rollout.container, self._kinds)
            except specs.SpecError as error:
                read.refused[file.path] = str(error)
                continue
            if done.data != data:
                read.changed[file] = done.data
                read.before.update(each.before for each in done.changes if each.before)
        return read

    def _told(self, read: _Read, new: New) -> Told:
        version = self._run.version
        digests = {text.rpartition("@")[2] for text in read.before}
        with reading(self._kit.engine) as session:
            before = rollouts.predecessor(session, version, digests)
            after = versions.find(session, self._environment, str(version.number), whole=True)
            packages = None if before is None else diff.packages(before.packages, after.packages)
        return Told(
            self._environment,
            version.number,
            str(new.image),
            None if before is None else before.number,
            packages,
            sorted(_printable(file.path) for file in read.changed),
            None if before is None else _bases(before, version),
            self._link(),
        )

    def _link(self) -> str | None:
        page = self._kit.settings.public_url.rstrip("/")
        where = f"/environments/{self._environment}/versions/{self._run.version.number}"
        return f"{page}{where}" if page else None

    def _proposed(
        self,
        repository: Repository,
        commit: str,
        told: Told,
        secret: SecretFile | None,
        read: _Read,
        refused: list[Outcome],
    ) -> list[Outcome] | None:
        """Our branch at the commit, unless it holds the same, and a request that is open."""
        over = repository.tip(self._head)
        if over is not None:
            repository.fetch(self._head)
            if f"\n{TRAILER}: " not in repository.message(over):
                say = (
                    f"somebody else committed to {self._head}: merge it or delete it, then have"
                    " this rollout tried again"
                )
                return [_outcome("Branch", self._head, State.CONFLICT, say), *refused]
        same = over is not None and repository.tree(over) == repository.tree(commit)
        if not same and not self._still(repository, commit, self._head, over=over, force=True):
            return None
        request = self._requests(secret).open(told.title, told.body)
        say = f"{request.url}: {told.title}"
        done = _outcome("PullRequest", f"#{request.number}", State.DONE, say, read.before)
        return [done, *refused]

    def _still(self, repository: Repository, commit: str, branch: str, **how: Any) -> bool:  # noqa: ANN401
        """Push, unless the run was handed on meanwhile: `alive` raises then."""
        self._alive()
        return repository.push(commit, branch, **how)

    def _withdrawn(self, secret: SecretFile | None) -> str | None:
        """Close the request for another version, if one is open; a sentence about it."""
        if not self._place.pull_request:
            return None
        closed = self._requests(secret).close()
        if closed is None:
            return None
        return f"{closed.url} is closed: {self._place.branch} names what this version has already"

    def _requests(self, secret: SecretFile | None) -> Requests:
        place = self._place
        token = _text(secret and secret.password)
        if secret is None or token is None or place.forge is None:
            raise GitopsError(
                "Pull requests need a token of the forge: name a secret with a password (--secret)."
            )
        root = secret.api or forges.root_of(secret.url)
        path = secrets.path_of(place.url)
        return Requests(
            self._kit.settings, place.forge, root, token, path, head=self._head, base=place.branch
        )


def _outcome(
    kind: str, name: str, state: State, say: str, before: Sequence[str] | set[str] = ()
) -> Outcome:
    shown = _printable(name)
    if len(shown) > _NAME_CHARS:
        shown = "…" + shown[1 - _NAME_CHARS :]
    return Outcome("git", kind, shown, state.value, say, sorted(before))


def _printable(path: str) -> str:
    """A file's name as text, also where it is none."""
    return path.encode(errors="backslashreplace").decode()


def _bases(before: Version, after: Version) -> tuple[str, str] | None:
    if before.base_digest == after.base_digest:
        return None
    return f"{before.base_name}@{before.base_digest}", f"{after.base_name}@{after.base_digest}"


def _text(secret: Any) -> str | None:  # noqa: ANN401 # SecretStr or nothing
    return secret.get_secret_value() if secret else None
