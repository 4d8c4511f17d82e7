"""Writes a layer: tar headers made here, file contents copied from the wheel without inflating.

A layer file is three runs of gzip members: the start (the folders down to the prefix), the body
(the wheel), the end (two zero blocks). The body alone can be copied into another layer beside other
bodies, so a bucket of small wheels is put together from finished pieces.
"""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from typing import IO, BinaryIO, cast

from isal import igzip

from builder.errors import BadWheelError
from builder.layers import archive, bytecode, install, wheel
from builder.streams import Chunks


def start(writer: archive.LayerWriter, prefix: install.Prefix) -> None:
    """The folders down to the prefix: without them an unpacker makes them as root."""
    parents = list(itertools.accumulate(prefix.path.strip("/").split("/"), "{}/{}".format))
    for parent in parents[:-1]:
        writer.folder(parent, uid=0, gid=0)
    writer.folder(parents[-1])


def write_wheel(
    out: BinaryIO,
    source: wheel.Wheel,
    prefix: install.Prefix,
    compiler: bytecode.Compiler | None = None,
    executor: Executor | None = None,
    check: Callable[[], None] = lambda: None,
) -> archive.Written:
    """A layer that holds one installed wheel and, given a compiler and an executor, its bytecode.

    Compilation goes on in the executor, which must not be the one that runs this, while contents
    are copied. `check` is called at each file and may raise to stop. Raises BadWheelError.
    """
    name = source.path.name
    root = prefix.path.strip("/")
    with ExitStack() as stack:
        file = stack.enter_context(wheel.opened(source.path))
        file_of_sources = stack.enter_context(wheel.opened(source.path))
        installed = install.plan(source, file, prefix)
        modules = _modules(installed, prefix) if compiler else []
        texts = (
            bytecode.Source(f"{prefix.path}/{item.path}", text)
            for item in modules
            for text in [b"".join(wheel.contents(file_of_sources, item.entry, name))]
        )
        compiled: Iterable[tuple[str, bytes]] = ()
        if compiler and executor:
            compiled = stack.enter_context(bytecode.Compiled(texts, compiler, executor))
        writer = archive.LayerWriter(out)
        start(writer, prefix)
        writer.mark()
        folders = {f"{root}/{folder}" for folder in installed.folders}
        # A layer must not hold a path twice: bytecode that the wheel brings waits for ours.
        tag = compiler.interpreter.tag if compiler else ""
        shipped = {bytecode.cache_path(item.path, tag) for item in modules}
        spare = []
        for item in installed.copied:
            check()
            if item.path in shipped:
                spare.append(item)
            else:
                _copy(writer, root, item, file, name)
        for made in installed.written:
            writer.file(f"{root}/{made.path}", made.data, made.mode)
        ours = set()
        for path, pyc in compiled:
            check()
            folders.add(path.rpartition("/")[0])
            ours.add(path)
            writer.file(path, pyc)
        for item in spare:
            if f"{root}/{item.path}" not in ours:
                _copy(writer, root, item, file, name)
        writer.mark()
    return writer.finish(folders)


def _copy(
    writer: archive.LayerWriter, root: str, item: install.Copied, file: BinaryIO, name: str
) -> None:
    found = writer.copy(f"{root}/{item.path}", item.mode, file, item.entry, name)
    promised = (item.record_hash or "").rstrip("=")
    if promised.startswith("sha256=") and found != promised:
        raise BadWheelError(f"{name}: {item.entry.name!r} is not what RECORD says it is.")


def _modules(installed: install.Installed, prefix: install.Prefix) -> list[install.Copied]:
    """The modules that an installer would compile: every .py file under site-packages."""
    site = prefix.site_packages + "/"
    return [
        item
        for item in installed.copied
        if item.path.startswith(site)
        and item.path.endswith(".py")
        and item.entry.size_bytes <= bytecode.SOURCE_LIMIT_BYTES
    ]


def write_bucket(
    out: BinaryIO, prefix: install.Prefix, wheels: Iterable[tuple[BinaryIO, archive.Written]]
) -> archive.Written:
    """A layer of several finished wheels, in the order given; of a file in two the later stays."""
    pieces = list(wheels)
    writer = archive.LayerWriter(out)
    start(writer, prefix)
    writer.mark()
    for number, (file, piece) in enumerate(pieces):
        later = itertools.chain.from_iterable(other.files for _, other in pieces[number + 1 :])
        replaced = set(piece.files).intersection(later)
        if replaced:
            _copy_others(writer, _body(file, piece), replaced)
        else:
            writer.body(_body(file, piece))
    writer.mark()
    return writer.finish({folder for _, piece in pieces for folder in piece.folders})


def _copy_others(writer: archive.LayerWriter, body: Iterator[bytes], replaced: set[str]) -> None:
    """The files of a body but those of these names, compressed anew; one chunk at a time."""
    plain = igzip.IGzipFile(fileobj=io.BufferedReader(Chunks(body)))  # type: ignore[no-untyped-call]
    with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="r|") as entries:
        for entry in entries:
            content = entries.extractfile(entry)
            if entry.name not in replaced and content is not None:
                writer.stream(entry.name, content, entry.size, entry.mode)


def _body(file: BinaryIO, piece: archive.Written) -> Iterator[bytes]:
    file.seek(piece.body_start)
    return _chunks(file, piece.body_end - piece.body_start)


def _chunks(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left:
        chunk = file.read(min(left, io.DEFAULT_BUFFER_SIZE * 32))
        if not chunk:
            raise EOFError
        left -= len(chunk)
        yield chunk
