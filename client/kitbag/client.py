"""The SDK: everything a Kitbag server does for its users, as one class."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from kitbag import config, events
from kitbag.builds import Build, BuildState, Event, Plan
from kitbag.errors import BuildFailedError, KitbagError, StillRunningError
from kitbag.hooks import Hooks
from kitbag.refs import EnvRef
from kitbag.source import Folder, Source, find
from kitbag.supply import Supply
from kitbag.tokens import Tokens
from kitbag.transport import Transport
from kitbag.versions import Diff, Environment, Json, Resolved, Version

if TYPE_CHECKING:
    from typing import Self

_T = TypeVar("_T")

# The server gives a worker 60 s to plan.
_PLAN_S = 90.0
_UPLOAD_S = 300.0
_PAGE = 100
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 1.0


class Client:
    """A Kitbag server.

    `url` and `token` default to KITBAG_URL and KITBAG_TOKEN, then to what `kitbag login` saved,
    then to http://127.0.0.1:8484 without a token. Every method raises KitbagError with one sentence
    that says what to do, with the server's `problem` where it named one, and UnreachableError where
    it did not answer within `timeout_s`.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout_s: float = 30.0
    ) -> None:
        self._transport = Transport(config.load(url, token), timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the server."""
        self._transport.close()

    @property
    def hooks(self) -> Hooks:
        """The webhooks of environments."""
        return Hooks(self._transport, self.url)

    @property
    def supply(self) -> Supply:
        """What is in versions, and which versions something is in."""
        return Supply(self._transport)

    @property
    def tokens(self) -> Tokens:
        """The caller's tokens."""
        return Tokens(self._transport)

    def whoami(self) -> Json:
        """Who the server takes the caller for: `user`, `kind`, `groups`, `roles`."""
        who: Json = self._transport.get("/v1/whoami")
        return who

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    # Builds

    def build(
        self,
        source: str | Path | Source = ".",
        *,
        name: str | None = None,
        ref: str | None = None,
        subdir: str | None = None,
        submodules: bool = False,
        lfs: bool = False,
        python: str | None = None,
        base: str | None = None,
        accelerator: str | None = None,
        accelerators: Sequence[str] = (),
        platforms: Sequence[str] = (),
        upgrade: bool = False,
        extras: Sequence[str] = (),
        groups: Sequence[str] = (),
        indexes: Sequence[str] = (),
        default_index: str | None = None,
        index_strategy: str | None = None,
        exclude_newer: str | None = None,
        compression: str | None = None,
    ) -> Build:
        """Ask for an image of a folder, a requirements file or a git repository; doesn't wait.

        `source` is a path or a git URL, `name` is NS/NAME and comes from the folder or repository
        if None; of a git repository `submodules` and `lfs` ask for what these stand for. The same
        request again gives the same build. There is an image for each of
        `accelerators`, the default first, and of `platforms`; `accelerator` is for one, and without
        either the source decides, or it is cpu. `upgrade` resolves anew instead of
        keeping the packages of the last lock. `extras` and `groups` are those of a pyproject.toml;
        `indexes` are tried before all others, `default_index` replaces the server's, and
        `https://{secret:NAME}@HOST/…` names the operator's credentials; `exclude_newer` is a date
        after which no file is taken; `compression` is gzip or zstd, the server's choice if None.
        """
        wanted = _source(source, ref=ref, subdir=subdir, submodules=submodules, lfs=lfs)
        asked = {"python": python, "base": base, "upgrade": upgrade}
        asked |= _chosen(
            **_accelerators([accelerator] if accelerator else accelerators),
            **_platforms(platforms),
            extras=list(extras),
            groups=list(groups),
            indexes=list(indexes),
            default_index=default_index,
            index_strategy=index_strategy,
            exclude_newer=exclude_newer,
            compression=compression,
        )
        answer = self._ask("/v1/builds", wanted, name, asked, _UPLOAD_S)
        return self._read(Build.from_json, answer)

    def plan(
        self,
        source: str | Path | Source = ".",
        *,
        name: str | None = None,
        ref: str | None = None,
        subdir: str | None = None,
        submodules: bool = False,
        lfs: bool = False,
        python: str | None = None,
        base: str | None = None,
        accelerator: str | None = None,
        accelerators: Sequence[str] = (),
        platforms: Sequence[str] = (),
        upgrade: bool = False,
        extras: Sequence[str] = (),
        groups: Sequence[str] = (),
        indexes: Sequence[str] = (),
        default_index: str | None = None,
        index_strategy: str | None = None,
        exclude_newer: str | None = None,
        compression: str | None = None,
    ) -> Plan:
        """What `build` would do with the same arguments; nothing is built."""
        wanted = _source(source, ref=ref, subdir=subdir, submodules=submodules, lfs=lfs)
        asked = {"python": python, "base": base, "upgrade": upgrade}
        asked |= _chosen(
            **_accelerators([accelerator] if accelerator else accelerators),
            **_platforms(platforms),
            extras=list(extras),
            groups=list(groups),
            indexes=list(indexes),
            default_index=default_index,
            index_strategy=index_strategy,
            exclude_newer=exclude_newer,
            compression=compression,
        )
        answer = self._ask("/v1/plans", wanted, name, asked, _UPLOAD_S + _PLAN_S)
        return self._read(Plan.from_json, answer)

    def build_status(self, build_id: str) -> Build:
        """How far a build is."""
        return self._read(Build.from_json, self._transport.get(f"/v1/builds/{_part(build_id)}"))

    def builds(
        self, environment: str | None = None, *, state: BuildState | None = None
    ) -> Iterator[Build]:
        """Builds, newest first; of one environment or in one state where asked."""
        query = {"environment": environment, "state": state.value if state else None}
        return self._pages(Build.from_json, "/v1/builds", "before", query)

    def follow(
        self, build_id: str, *, after: int = 0, timeout_s: float | None = None
    ) -> Iterator[Event]:
        """A build's events behind number `after` as they happen, until it ends.

        Broken connections are made again and no event comes twice. Raises StillRunningError after
        `timeout_s`; the build goes on regardless.
        """
        path = f"/v1/builds/{_part(build_id)}/events"
        return events.follow(self._transport, path, after=after, timeout_s=timeout_s)

    def events(self, build_id: str, *, after: int = 0) -> Iterator[Event]:
        """The events that a build has had so far, behind number `after`."""
        path = f"/v1/builds/{_part(build_id)}/events"
        while True:
            items = self._transport.get(path, after=after)["items"]
            yield from (self._read(Event.from_json, item) for item in items)
            if not items:
                return
            after = int(items[-1]["seq"])

    def wait(
        self,
        build: Build | str,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Build:
        """The build once it is ready.

        `on_event` is shown each event. Raises BuildFailedError with the build's problem if it
        failed or was cancelled, StillRunningError if it takes longer than `timeout_s`.
        """
        if isinstance(build, str) or not build.state.ended:
            build_id = build if isinstance(build, str) else build.id
            for event in self.follow(build_id, timeout_s=timeout_s):
                if on_event:
                    on_event(event)
            build = self.build_status(build_id)
        if build.state is BuildState.READY:
            return build
        if build.error:
            raise BuildFailedError(build.error.sentence, build.error)
        if build.state is BuildState.CANCELLED:
            raise BuildFailedError(f"build {build.id} was cancelled")
        raise BuildFailedError(f"build {build.id} failed: see `kitbag logs {build.id}`")

    def cancel(self, build_id: str) -> Build:
        """Stop a build; KitbagError if it has already ended otherwise."""
        return self._read(Build.from_json, self._transport.delete(f"/v1/builds/{_part(build_id)}"))

    # Environments and versions

    def environments(
        self, query: str | None = None, *, namespace: str | None = None
    ) -> Iterator[Environment]:
        """Environments by name; with `query` in the name, or of one namespace, where asked."""
        asked = {"query": query, "namespace": namespace}
        return self._pages(Environment.from_json, "/v1/environments", "after", asked)

    def environment(self, name: str) -> Environment:
        """The environment NS/NAME."""
        return self._read(Environment.from_json, self._transport.get(_env_path(_env(name))))

    def offer(self, name: str, *, offered: bool = True) -> Environment:
        """Offer the newest version of NS/NAME in the notebook launcher's list, or no longer."""
        answer = self._transport.patch(_env_path(_env(name)), {"offered": offered})
        return self._read(Environment.from_json, answer)

    def versions(self, name: str) -> Iterator[Version]:
        """The versions of NS/NAME, newest first."""
        path = f"{_env_path(_env(name))}/versions"
        return self._pages(Version.from_json, path, "before", {})

    def version(
        self, name: str, *, accelerator: str | None = None, platform: str | None = None
    ) -> Version:
        """NS/NAME[:VERSION] with the lock, packages and layers of an image, the default one first.

        VERSION is a number, `latest` (the default), a commit or a branch.
        """
        ref = _env(name)
        path = f"{_env_path(ref)}/versions/{_part(ref.version or 'latest')}"
        answer = self._transport.get(path, accelerator=accelerator, platform=platform)
        return self._read(Version.from_json, answer)

    def resolve(
        self,
        name: str,
        *,
        accelerator: str | None = None,
        target: str | None = None,
        wait_s: float = 0.0,
    ) -> Resolved:
        """The image that NS/NAME[:VERSION] stands for at this moment, the default of several.

        At a `target` it is the equal digest in that target's registry; while it is not there yet
        this waits up to `wait_s`, then raises KitbagError with the problem `not-mirrored`.
        """
        ends = time.monotonic() + wait_s
        pause_s = _FIRST_WAIT_S
        while True:
            try:
                answer = self._transport.get(
                    "/v1/resolve", env=str(_env(name)), accelerator=accelerator, target=target
                )
                return self._read(Resolved.from_json, answer)
            except KitbagError as error:
                waits = error.problem is not None and error.problem.type == "not-mirrored"
                left_s = ends - time.monotonic()
                if not waits or left_s <= 0:
                    raise
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_WAIT_S)

    def diff(
        self,
        name: str,
        before: str,
        after: str,
        *,
        accelerator: str | None = None,
        platform: str | None = None,
    ) -> Diff:
        """What changed in NS/NAME from one version to another, in the default image or another."""
        path = f"{_env_path(_env(name))}/diff"
        query = {"from": before, "to": after, "accelerator": accelerator, "platform": platform}
        answer = self._transport.get(path, **query)
        return self._read(Diff.from_json, answer)

    def rollback(self, name: str, to: str) -> Version:
        """A new version of NS/NAME with the image of an old one."""
        path = f"{_env_path(_env(name))}/rollback"
        return self._read(Version.from_json, self._transport.post(path, {"to": to}))

    def rollouts(self, name: str) -> list[Json]:
        """The rollouts registered on NS/NAME, and what became of their objects."""
        items: list[Json] = self._transport.get(f"{_env_path(_env(name))}/rollouts")["items"]
        return items

    def add_rollout(
        self,
        name: str,
        *,
        objects: Sequence[Json] = (),
        selector: str = "",
        namespace: str | None = None,
        restart: bool = False,
        clone: bool = False,
        force_conflicts: bool = False,
        container: str | None = None,
        git: Json | None = None,
    ) -> Json:
        """Have the server give objects of its cluster every version of NS/NAME, from the latest on.

        `objects` are {"kind", "name"}; or else `selector` chooses by labels; or else `git` is a
        repository: {"url", "branch", "paths", "pull_request", "forge", "secret", "target"}.
        """
        body = {
            "objects": list(objects),
            "selector": selector,
            "namespace": namespace,
            "restart": restart,
            "clone": clone,
            "force_conflicts": force_conflicts,
            "container": container,
            "git": git,
        }
        made: Json = self._transport.post(f"{_env_path(_env(name))}/rollouts", body)
        return made

    def retry_rollout(self, name: str, rollout_id: int) -> Json:
        """Have the server try the newest version again now."""
        path = f"{_env_path(_env(name))}/rollouts/{int(rollout_id)}/retry"
        told: Json = self._transport.post(path, {})
        return told

    def remove_rollout(self, name: str, rollout_id: int) -> None:
        """Have the server leave those objects alone; they stay as they are."""
        self._transport.delete(f"{_env_path(_env(name))}/rollouts/{int(rollout_id)}")

    def verify(self, name: str, *, timeout_s: float | None = None) -> Json:
        """The verdict on NS/NAME[:VERSION], built again from its lock: `equal`, and what differs.

        Raises StillRunningError after `timeout_s`; the server goes on regardless.
        """
        return self._job("/v1/verifications", {"version": str(_env(name))}, timeout_s)

    def rebase(
        self,
        old: str,
        new: str,
        *,
        environments: str = "*",
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> Json:
        """Put the latest versions on the base `old` on `new`; `items` say what became of each.

        `environments` is NS/NAME, NS/* or * for all. Raises StillRunningError after `timeout_s`;
        the server goes on regardless.
        """
        body = {"old": old, "new": new, "environments": environments, "dry_run": dry_run}
        return self._job("/v1/rebases", body, timeout_s)

    def launch(self, version: str, *, timeout_s: float | None = None, **asked: str | int) -> Json:
        """Start a notebook on NS/NAME[:VERSION]: what was made, with `url` or `path`.

        `asked` are the fields of POST /v1/launches. Raises StillRunningError after `timeout_s`.
        """
        body = {
            "version": str(_env(version)),
            **{key: value for key, value in asked.items() if value},
        }
        return self._job("/v1/launches", body, timeout_s)

    def restart(
        self, version: str, namespace: str, name: str, *, timeout_s: float | None = None
    ) -> Json:
        """Have a Notebook run NS/NAME[:VERSION] now; `state` and `say` tell what became of it.

        Whatever runs in it ends. Raises StillRunningError after `timeout_s`.
        """
        body = {"version": str(_env(version)), "namespace": namespace, "name": name}
        return self._job("/v1/restarts", body, timeout_s)

    def _job(self, path: str, body: Json, timeout_s: float | None) -> Json:
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        job = self._transport.post(path, body)
        wait_s = _FIRST_WAIT_S
        while job["state"] in ("queued", "running"):
            if ends is not None and time.monotonic() > ends:
                raise StillRunningError(f"{path}/{job['id']} is not done yet: ask for it later")
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            job = self._transport.get(f"{path}/{job['id']}")
        if job["problem"]:
            raise KitbagError(str(job["problem"].get("detail") or "the server could not do it"))
        result: Json = job["result"]
        return result

    def audit(
        self, *, user: str | None = None, subject: str | None = None, action: str | None = None
    ) -> Iterator[Json]:
        """Who did what, the newest first, as `GET /v1/audit` has it; for admins of everything.

        Of one user, one environment (`subject`), one action if given.
        """
        query = {"user": user, "subject": subject, "action": action}
        yield from self._pages(dict, "/v1/audit", "before", query)

    def quota(self, namespace: str | None = None) -> Json:
        """What you may use and what you use, as `GET /v1/quota` has it (docs/quotas.md).

        `namespace` says whose on a server that knows no users.
        """
        query = {} if namespace is None else {"namespace": namespace}
        answer: Json = self._transport.get("/v1/quota", **query)
        return answer

    def _ask(
        self,
        path: str,
        source: Source,
        name: str | None,
        asked: dict[str, Any],
        timeout_s: float,
    ) -> Any:  # noqa: ANN401 - JSON
        body = {"environment": _env(name).environment if name else source.environment, **asked}
        if isinstance(source, Folder):
            with source.packed() as archive:
                return self._transport.post_archive(path, body, archive, timeout_s=timeout_s)
        body["source"] = source.as_json()
        return self._transport.post(path, body, timeout_s=timeout_s)

    def _pages(
        self, read: Callable[[Json], _T], path: str, cursor: str, query: dict[str, str | None]
    ) -> Iterator[_T]:
        next_: str | None = None
        while True:
            page = self._transport.get(path, **query, **{"limit": _PAGE, cursor: next_})
            for item in page["items"]:
                yield self._read(read, item)
            next_ = page.get("next")
            if next_ is None:
                return

    def _read(self, read: Callable[[Json], _T], answer: Json) -> _T:
        try:
            return read(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise KitbagError(
                f"{self.url} answers what this kitbag doesn't know: update the older of the two"
            ) from error


def _accelerators(names: Sequence[str]) -> dict[str, list[str] | str | None]:
    """As servers know it that build for one alone, where that says the same."""
    if len(names) == 1 and names[0] != "cpu":
        return {"accelerator": names[0]}
    return {"accelerators": list(names)}


def _platforms(names: Sequence[str]) -> dict[str, list[str] | str | None]:
    return {"platform": names[0]} if len(names) == 1 else {"platforms": list(names)}


def _chosen(**choices: list[str] | str | None) -> dict[str, Any]:
    """What was chosen at all."""
    return {name: value for name, value in choices.items() if value}


def _source(source: str | Path | Source, **asked: Any) -> Source:  # noqa: ANN401 # as find has it
    return find(source, **asked) if isinstance(source, (str, Path)) else source


def _env(name: str) -> EnvRef:
    try:
        return EnvRef.parse(name)
    except ValueError as error:
        raise KitbagError(str(error)) from error


def _env_path(ref: EnvRef) -> str:
    return f"/v1/environments/{ref.namespace}/{ref.name}"


def _part(text: str) -> str:
    """One part of a path, whatever the text holds."""
    if not text or text in (".", ".."):
        raise KitbagError(f"{text!r} names nothing on the server: write an id or a version")
    return quote(text, safe="")
