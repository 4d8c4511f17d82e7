"""Files of manifests: which are meant, what pinning makes of each, and writing them back."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from kitbag.errors import KitbagError, UnreachableError
from kitbag.refs import EnvRef
from kitbag.specs import Change, Images, Kinds, PullPolicy, SpecError, Target, expand, images, pin
from kitbag.specs.source import MAX_BYTES

if TYPE_CHECKING:
    from kitbag.client import Client

STDIN = "-"
_CONTENT = re.compile(rb"^[ \t]*[^\s#].*", re.MULTILINE)


@dataclass(frozen=True)
class Manifest:
    """A file as the user named it; `relative` is its place below an output folder.

    `given` says that it was named itself and not found in a folder.
    """

    name: str
    relative: PurePath
    given: bool = True

    def read(self) -> bytes:
        """Its bytes; KitbagError if it can't be read or is too large for a manifest."""
        try:
            if self.name == STDIN:
                data = sys.stdin.buffer.read(MAX_BYTES + 1)
            else:
                with Path(self.name).open("rb") as stream:
                    data = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise KitbagError(f"{self.name}: can't be read: {error.strerror}") from error
        if len(data) > MAX_BYTES:
            raise KitbagError(f"{self.name}: is over {MAX_BYTES >> 20} MiB: split it")
        return data


@dataclass(frozen=True)
class Outcome:
    """What pinning made of a file: `after` is None where it was refused, and `error` says why."""

    manifest: Manifest
    before: bytes = field(default=b"", repr=False)
    after: bytes | None = field(default=None, repr=False)
    changes: tuple[Change, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def changed(self) -> bool:
        """Whether the file would read otherwise."""
        return self.after is not None and self.after != self.before


def find(names: Sequence[str]) -> Iterator[Manifest | Outcome]:
    """The files that are meant, folders unfolded; a refused Outcome for a name that means none."""
    for name in names:
        path = Path(name)
        if name == STDIN:
            yield Manifest(STDIN, PurePath("stdin.yaml"))
        elif path.is_dir():
            found = [Manifest(str(file), file.relative_to(path), False) for file in expand([path])]
            yield from found
            if not found:
                yield _refused(name, "holds no .yaml, .yml, .json, .ipynb or .pipeline")
        elif not path.exists():
            yield _refused(name, "is not there")
        else:
            plain = PurePath(os.path.normpath(name))
            outside = plain.is_absolute() or plain.parts[0] == os.pardir
            yield Manifest(name, PurePath(plain.name) if outside else plain)


def _refused(name: str, why: str) -> Outcome:
    return Outcome(Manifest(name, PurePath(name)), error=f"{name}: {why}")


class Resolver:
    """Answers references with the server's digests, each asked for once, if ever.

    Of a version with several images it gives that for the accelerator, or all of them; at a
    target those in its registry, for which it waits up to `wait_s`.
    """

    def __init__(
        self, accelerator: str | None = None, *, target: str | None = None, wait_s: float = 0.0
    ) -> None:
        self._accelerator = accelerator
        self._target, self._wait_s = target, wait_s
        self._secrets: dict[str, str] = {}
        self._asked: list[str] = []
        self._client: Client | None = None
        self._known: dict[str, str | KitbagError] = {}

    def __call__(self, name: str) -> str:
        self._asked.append(name)
        if name not in self._known:
            try:
                found = self._server().resolve(
                    name, accelerator=self._accelerator, target=self._target, wait_s=self._wait_s
                )
                if found.pull_secret:
                    self._secrets[name] = found.pull_secret
                several = self._accelerator is None and len(found.images) > 1
                self._known[name] = Images(found.images) if several else found.image
            except UnreachableError:
                raise
            except KitbagError as error:
                self._known[name] = error
        answer = self._known[name]
        if isinstance(answer, KitbagError):
            raise answer
        return answer

    def secrets(self) -> tuple[str, ...]:
        """The secrets that pull what was asked for since this was called last."""
        asked, self._asked = self._asked, []
        return tuple(dict.fromkeys(self._secrets[name] for name in asked if name in self._secrets))

    def _server(self) -> Client:
        if self._client is None:
            from kitbag.client import Client

            self._client = Client()
        return self._client

    def close(self) -> None:
        """Close the connection to the server, if one was made."""
        if self._client:
            self._client.close()


@dataclass(frozen=True)
class Wish:
    """What the command line asks for: an image or an environment's, in which container, with what
    it takes to pull it."""

    env: str | None = None
    image: str | None = None
    container: str | None = None
    accelerator: str | None = None
    pull_secrets: tuple[str, ...] = ()
    pull_policy: PullPolicy | None = None
    target: str | None = None
    wait_s: float = 0.0


def target(wish: Wish, resolver: Resolver) -> Target:
    """What to pin: an image as it is, an environment's image, or only what files ask for."""
    found = _target(wish.env, wish.image, resolver)
    secrets = tuple(dict.fromkeys((*wish.pull_secrets, *resolver.secrets())))
    return replace(found, pull_secrets=secrets, pull_policy=wish.pull_policy)


def _target(env: str | None, image: str | None, resolver: Resolver) -> Target:
    if image is not None:
        return Target(image=image)
    if env is None:
        return Target(resolve=resolver)
    try:
        ref = EnvRef.parse(env)
    except ValueError as error:
        raise KitbagError(str(error)) from error
    return Target(image=resolver(str(ref)), env=ref, resolve=resolver)


def pinned(
    manifest: Manifest, wanted: Target, container: str | None, kinds: Kinds | None = None
) -> Outcome:
    """The outcome for one file; `kinds` is the table, that of Kitbag by default.

    Raises UnreachableError: without its server no other file can be pinned either.
    """
    try:
        data = manifest.read()
        done = pin(data, wanted, container=container, filename=manifest.name, kinds=kinds)
        more = wanted.resolve.secrets() if isinstance(wanted.resolve, Resolver) else ()
        if not set(more) <= set(wanted.pull_secrets):  # known once its references were resolved
            secrets = tuple(dict.fromkeys((*wanted.pull_secrets, *more)))
            again = replace(wanted, pull_secrets=secrets)
            done = pin(data, again, container=container, filename=manifest.name, kinds=kinds)
        notes = done.notes
        silent = manifest.given and wanted.image and not (done.changes or done.skipped or notes)
        if silent and not images(data, container=container, filename=manifest.name, kinds=kinds):
            notes = ("no image that pin knows is in it",)
    except UnreachableError:
        raise
    except SpecError as error:
        return Outcome(manifest, error=str(error))
    except KitbagError as error:
        sentence = str(error)
        placed = sentence.startswith(f"{manifest.name}:")
        return Outcome(manifest, error=sentence if placed else f"{manifest.name}: {sentence}")
    return Outcome(manifest, data, done.data, done.changes, done.skipped, notes)


def joined(texts: Sequence[bytes]) -> bytes:
    """One YAML stream of these files; a single file stays as it is to the byte."""
    out = bytearray()
    for given in texts:
        text = given
        if out:
            # Readers take a byte order mark inside a stream for text.
            text = given.removeprefix(codecs.BOM_UTF8)
            out += b"" if out.endswith(b"\n") else b"\n"
        first = _first(text)
        if _first(out) is None:
            # Nothing but comments so far: they may stand before any document.
            pass
        elif first is not None and first.startswith(b"%"):
            # A directive needs a document's end before it, and only one that was begun has one.
            out += b"---\n...\n"
        elif first is None or not re.match(rb"---(\s|$)", first):
            out += b"---\n"
        out += text
    return bytes(out)


def _first(text: bytes | bytearray) -> bytes | None:
    """The first line that is more than a comment; None if there is none."""
    start = len(codecs.BOM_UTF8) if text.startswith(codecs.BOM_UTF8) else 0
    match = _CONTENT.search(text, start)
    return match[0] if match else None


def write(path: Path, data: bytes, *, like: Path | None = None) -> None:
    """Replace a file whole or not at all, with the mode of `like` and, where allowed, its owner.

    A link is followed: what it leads to is replaced. Raises OSError.
    """
    place = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if like is None:
            Path(name).chmod(0o666 & ~_umask())
        else:
            shutil.copymode(like, name)
            status = like.stat()
            with contextlib.suppress(PermissionError):
                os.chown(name, status.st_uid, status.st_gid)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
