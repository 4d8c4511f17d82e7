"""A BuildKit daemon by `buildctl`, on a unix socket or over TLS, rootless or not.

base ─> oci-layout ─> build ─┬─> the same again, all of it cached: push ─┬─> read back
        (no login)           └─> archive, verified blobs ────────────────┘

A build knows no login: a Dockerfile starts FROM nothing that only the operator may see. The base is
handed over by the client. Only the second run, in which no step is left to do, may push.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from builder.engines import oci
from builder.engines.address import Address
from builder.engines.archive import read_back
from builder.engines.client import dockerfile_of
from builder.engines.logins import config_folder
from builder.engines.logs import secret_texts
from builder.engines.process import Clock
from builder.engines.protocol import OUT, Job, Limit, Network, check_limits
from builder.engines.talk import Talk, published
from builder.errors import EngineUnreachableError, LimitExceededError
from builder.model import Image, Pinned
from builder.stores.layout import LayoutStore
from builder.stores.names import check_tag
from builder.stores.protocol import Store
from builder.stores.registry import RegistryStore

_BASE = "kitbag-base"
_STORE = "kitbag"
_STAGES_KEPT = 2
_ASK_S = 30
_HONOURS = frozenset({Limit.TIME, Limit.NETWORK, Limit.PROCESSES})
_FROM = re.compile(r"^[ \t]*FROM[ \t]", re.IGNORECASE | re.MULTILINE)


class BuildKitEngine:
    """One BuildKit daemon; `scratch` is where bases and images lie on their way."""

    def __init__(self, address: Address, *, scratch: Path | None = None) -> None:
        self._address = address
        self._scratch = scratch
        self._stages: deque[str] = deque()

    @property
    def name(self) -> str:
        said = self._ask("debug", "info")
        match = re.search(r"buildkit\S*\s+(v?\d[\w.+-]*)", said)
        return f"buildkit {match[1]}" if match else "buildkit"

    @property
    def honours(self) -> frozenset[Limit]:
        return _HONOURS

    @property
    def mounts(self) -> bool:
        return True

    def build(
        self,
        job: Job,
        store: Store,
        *,
        log: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Image:
        """As the protocol says; of `limits`, time, network and processes are held."""
        with self._run(job, store, log, cancelled) as run:
            if isinstance(store, RegistryStore):
                run.build("--output=type=image,push=false")
                return run.pushed(store)
            return run.ingested()

    def files(
        self,
        job: Job,
        store: Store,
        into: Path,
        *,
        log: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> tuple[Path, ...]:
        """As the protocol says."""
        with self._run(replace(job, cache_repo=None), store, log, cancelled) as run:
            return run.files(into)

    def sweep(self, alive: Callable[[str], bool]) -> int:  # noqa: ARG002
        """Nothing: a build whose client is gone ends, and has no container, image or network."""
        return 0

    @contextmanager
    def _run(
        self,
        job: Job,
        store: Store,
        log: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[_Run]:
        check_tag(job.id)
        check_limits(job.limits, _HONOURS)
        clock = Clock(job.limits.timeout_s, cancelled)
        clock.check()
        with tempfile.TemporaryDirectory(prefix="kitbag-engine-", dir=self._scratch) as folder:
            talk = Talk(job, clock, log, Path(folder), _environment, _HONOURS, self._answers)
            bases = (self._scratch or Path(folder)) / "bases"
            try:
                yield _Run(job, store, talk, self._command(), bases)
            finally:
                if job.base is not None and not job.keep_base and bases.exists():
                    self._give_up(bases, job.base.digest)

    def _give_up(self, bases: Path, stage: str) -> None:
        """Keep the layers of the last few stages alone, which the next one shares most of."""
        self._stages.append(stage)
        while len(self._stages) > _STAGES_KEPT:
            old = self._stages.popleft()
            if old not in self._stages:
                LayoutStore(bases).delete(oci.STAGE, [old])

    def _command(self) -> list[str]:
        program = shutil.which("buildctl")
        if program is None:
            raise EngineUnreachableError(
                "This worker has no buildctl program, which talks to BuildKit: install it."
            )
        command = [program, f"--addr={self._address.url}"]
        if self._address.certs is not None and self._address.socket is None:
            for option, name in (("tlscacert", "ca"), ("tlscert", "cert"), ("tlskey", "key")):
                command.append(f"--{option}={self._address.certs / f'{name}.pem'}")
        return command

    def _answers(self) -> bool:
        try:
            self._ask("debug", "workers")
        except EngineUnreachableError:
            return False
        return True

    def _ask(self, *arguments: str) -> str:
        with config_folder(within=self._scratch) as config:
            try:
                done = subprocess.run(
                    [*self._command(), *arguments],
                    env=_environment(config),
                    capture_output=True,
                    text=True,
                    timeout=_ASK_S,
                    check=True,
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise EngineUnreachableError(
                    f"BuildKit at {self._address.url} does not answer; its operator must start "
                    "it, or correct the address."
                ) from error
        return done.stdout


@dataclass(frozen=True, slots=True)
class _Run:
    """One build: the client's command line, and what comes of it."""

    job: Job
    store: Store
    talk: Talk
    client: Sequence[str]
    bases: Path

    def build(
        self,
        *more: str,
        dockerfile: Path | None = None,
        login: RegistryStore | None = None,
    ) -> None:
        """Run all steps that the daemon has not run before."""
        job = self.job
        file = dockerfile or dockerfile_of(job)
        options = [f"filename={file.name}", f"platform={job.platform}"]
        options += [f"label:{key}={value}" for key, value in sorted(job.labels.items())]
        arguments = dict(job.args) | ({"BASE": _BASE} if job.base else {})
        options += [f"build-arg:{key}={value}" for key, value in sorted(arguments.items())]
        if job.target is not None:
            options.append(f"target={job.target}")
        if job.limits.network is Network.NONE:
            options.append("force-network-mode=none")
        if job.limits.processes is not None:
            options.append(f"ulimit=nproc={job.limits.processes}:{job.limits.processes}")
        command = [
            *self.client,
            "build",
            "--progress=plain",
            "--frontend=dockerfile.v0",
            f"--local=context={job.context}",
            f"--local=dockerfile={file.parent}",
            *(f"--secret=id={key},src={path}" for key, path in sorted(job.secrets.items())),
        ]
        if job.base is not None:
            layout = self._layout(job.base)
            command.append(f"--oci-layout={_STORE}={layout}")
            options.append(f"context:{_BASE}=oci-layout://{_STORE}@{job.base.digest}")
        command += [f"--opt={each}" for each in options]
        self.talk.run(
            [*command, *self._cache(login), *more],
            login=login,
            wish="take the image from BuildKit",
            secrets=secret_texts(job.secrets.values()),
        )

    def pushed(self, store: RegistryStore) -> Image:
        """Push what was built, and read its digest back."""
        job, told = self.job, self.talk.folder / "metadata.json"
        name = store.reference(job.repo, f"sha256:{'0' * 64}").partition("@")[0]
        output = f"type=image,name={name},push=true,push-by-digest=true,oci-mediatypes=true"
        if store.plain_http:
            output += ",registry.insecure=true"
        self.build(f"--output={output}", f"--metadata-file={told}", login=store)
        digest = str(json.loads(told.read_bytes())["containerimage.digest"])
        self.talk.clock.check()
        image = published(store, job, digest)
        self._check_size(image)
        return image

    def ingested(self) -> Image:
        """Take the image as an archive and put it into the store."""
        archive = self.talk.folder / "image.tar"
        self.build(f"--output=type=oci,dest={archive},oci-mediatypes=true")
        job = self.job
        digest = oci.ingest(archive, self.store, job.repo, self.talk.clock.check)
        image = read_back(self.store, job.repo, digest, job.platform)
        self._check_size(image)
        return image

    def files(self, into: Path) -> tuple[Path, ...]:
        """Build a stage more, which holds nothing but the files."""
        text = dockerfile_of(self.job).read_text()
        last = self.job.target or str(len(_FROM.findall(text)) - 1)
        more = self.talk.folder / "stage" / "Dockerfile"
        more.parent.mkdir()
        more.write_text(f"{text}\nFROM scratch\nCOPY --from={last} {OUT}/ /\n")
        made = self.talk.folder / "made"
        run = replace(self, job=replace(self.job, target=None))
        run.build(f"--output=type=local,dest={made}", dockerfile=more)
        found = []
        for path in sorted(made.iterdir()):
            if path.is_file() and not path.is_symlink():
                found.append(into / path.name)
                shutil.copyfile(path, found[-1])
        return tuple(found)

    def _layout(self, base: Pinned) -> Path:
        """The folder of a layout that holds the base: a layout store's own, or one for bases."""
        if isinstance(self.store, LayoutStore):
            return self.store.root
        place = oci.BASE if self.job.keep_base else oci.STAGE
        oci.mirror(base, self.store, self.bases, place, self.talk.clock.check)
        return self.bases

    def _cache(self, login: RegistryStore | None) -> list[str]:
        """Read by the run that builds, without a login; written by the one that pushes."""
        if self.job.cache_repo is None or not isinstance(self.store, RegistryStore):
            return []
        insecure = ",registry.insecure=true" if self.store.plain_http else ""
        place = f"type=registry,ref={self.store.name}/{self.job.cache_repo}:buildkit{insecure}"
        if login is None:
            return [f"--import-cache={place}"]
        return [f"--export-cache={place},mode=max,ignore-error=true"]

    def _check_size(self, image: Image) -> None:
        limit = self.job.limits.disk_bytes
        if limit is not None and image.size_bytes > limit:
            raise LimitExceededError(
                f"The image has {image.size_bytes >> 20} MiB, over the limit of {limit >> 20} MiB; "
                "let it keep less, or ask for more."
            )


def _environment(config: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(config), "DOCKER_CONFIG": str(config)}
