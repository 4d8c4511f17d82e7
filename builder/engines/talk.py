"""One build's talk with its engine's client: what is run, shown and hidden, and what failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.engines.archive import read_back
from builder.engines.failures import failure, is_away
from builder.engines.logins import config_folder
from builder.engines.logs import Redactor
from builder.engines.process import Clock, run_lines
from builder.engines.protocol import Job, Limit
from builder.errors import EngineBuildError, StoreRefusedError, StoreUnreachableError
from builder.layered import tag_of
from builder.model import Image
from builder.stores.registry import RegistryStore

_REMEMBERED = 50


@dataclass(frozen=True, slots=True)
class Talk:
    """`folder` is the build's own, `environment` are a client's variables for its configuration.

    `answers` is whether the engine does, which is asked when a client failed.
    """

    job: Job
    clock: Clock
    log: Callable[[str], None]
    folder: Path
    environment: Callable[[Path], Mapping[str, str]]
    honours: frozenset[Limit]
    answers: Callable[[], bool]

    def run(
        self,
        command: Sequence[str],
        *,
        config: Path | None = None,
        login: RegistryStore | None = None,
        wish: str = "give the engine an image",
        secrets: Sequence[str] = (),
        probe: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a client with a login or none; raises what its failure means.

        `wish` is what the registry of the login refused then, and `config` stands for a folder of
        the client's configuration without a login.
        """
        known = login.login() if login is not None else None
        redact = Redactor([*secrets, *(known.secrets if known else ())])
        said: deque[str] = deque(maxlen=_REMEMBERED)

        def line(text: str) -> None:
            shown = redact(text)
            said.append(shown)
            self.log(shown)

        host = login.host if login is not None else ""
        with config_folder(host, known, within=self.folder) as own:
            status = run_lines(
                command,
                env=self.environment(config or own),
                cwd=self.folder,
                line=line,
                clock=self.clock,
                probe=probe,
            )
        if not status:
            return
        error = failure(list(said), self.job.limits, self.honours, answers=self.answers())
        if login is not None and isinstance(error, EngineBuildError):
            reason = (said[-1] if said else "it gave no reason")[:200]
            if is_away(reason):
                raise StoreUnreachableError(f"{login.name} did not answer the engine: {reason}")
            raise StoreRefusedError(f"{login.name} did not {wish}: {reason}")
        raise error


def published(store: RegistryStore, job: Job, reference: str) -> Image:
    """The image that an engine pushed, as the registry has it, under the tag of its digest too."""
    image = read_back(store, job.repo, reference, job.platform)
    manifest = store.manifest(job.repo, image.digest)
    assert manifest is not None
    store.put_manifest(job.repo, manifest, tags=[tag_of(image.digest)])
    return image
