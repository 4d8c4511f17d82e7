"""An image on another base, by manifests alone: no wheel is fetched, spliced or compiled.

base ─────────> new base          mounted, or copied once
skeleton ─────> written anew      a few kilobytes: it names the base's Python and users
packages ─────> the same layers   they depend on Python's minor version and the prefix alone
record ───────> written anew      it names the base

The result is byte for byte what a build of the same lock on the new base makes with the compiler
that the layers were made with, which the label `kitbag.dev/bytecode` goes on naming.
"""

from __future__ import annotations

import io
import re
from functools import partial

from packaging.utils import parse_wheel_filename

from builder import cuda, image, record, skeleton
from builder.errors import RebaseRefusedError
from builder.index import MemoryIndex
from builder.layered import layers_of, tag_of
from builder.layers.group import group
from builder.model import Base, Image, Lock
from builder.putting import Putter
from builder.stored import Stored
from builder.stores.protocol import Store

_MANYLINUX = re.compile(r"manylinux_(\d{1,3})_(\d{1,3})_.+")
_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


def check(lock: Lock, old: Base, new: Base) -> None:
    """Raise RebaseRefusedError, with the reason, if the packages can't go from base to base."""
    if old.platform != new.platform:
        raise RebaseRefusedError(f"{new.name} is for {new.platform}, not {old.platform}")
    if old.python.minor != new.python.minor:
        raise RebaseRefusedError(
            f"{new.name} has Python {new.python.version}, and the packages are for "
            f"{old.python.minor}"
        )
    if (old.cuda or "").partition(".")[0] != (new.cuda or "").partition(".")[0]:
        raise RebaseRefusedError(
            f"{new.name} has {_cuda(new)}, and the packages were chosen for {_cuda(old)}"
        )
    for wheel in lock.wheels:
        needed = glibc_of(wheel.filename)
        if needed is None:
            continue
        # (0, 0): the file name doesn't say, so that only what it was locked for is known to do.
        least = needed if needed > (0, 0) else old.glibc or (0, 0)
        if new.glibc is None or new.glibc < least:
            have = "no glibc" if new.glibc is None else f"glibc {_dotted(new.glibc)}"
            raise RebaseRefusedError(
                f"{wheel.name} {wheel.version} needs glibc {_dotted(least)}, and {new.name} "
                f"has {have}"
            )
    if group(lock.wheels, len(old.layers)) != group(lock.wheels, len(new.layers)):
        raise RebaseRefusedError(
            f"{new.name} has {len(new.layers)} layers, so that its packages must share others"
        )


def glibc_of(filename: str) -> tuple[int, int] | None:
    """The least glibc that the wheel does with; None for any, (0, 0) if its name doesn't say."""
    platforms = {tag.platform for tag in parse_wheel_filename(filename)[3]}
    if "any" in platforms:
        return None
    said = []
    for name in platforms:
        if match := _MANYLINUX.fullmatch(name):
            said.append((int(match[1]), int(match[2])))
        elif (legacy := name.partition("_")[0]) in _LEGACY:
            said.append(_LEGACY[legacy])
    return min(said, default=(0, 0))


def rebase(stored: Stored, lock: Lock, old: Base, new: Base, repo: str, store: Store) -> Image:
    """The image on the new base, published in `repo` under its digest; `old` is what it is on now.

    Doing it again changes nothing. Raises RebaseRefusedError if it can't be and StoreErrors; then
    nothing was published.
    """
    check(lock, old, new)
    groups = group(lock.wheels, len(old.layers))
    below = len(old.layers)
    kept = stored.layers[below + 1 : -1]
    if stored.layers[:below] != old.layers or len(kept) != len(groups):
        raise RebaseRefusedError("its image was made by another release of Kitbag")
    missing = store.missing(repo, [layer.descriptor.digest for layer in new.layers])
    putter = Putter(store, MemoryIndex(), repo, new, lambda: None)
    for layer in new.layers:
        if layer.descriptor.digest in missing:
            putter.base(layer)
    under = putter.own(partial(skeleton.write, base=new))
    needs = cuda.of(lock, stored.accelerator)
    above = putter.own(partial(record.write, base=new, lock=lock, cuda=needs))
    parts = layers_of(under, groups, kept, above)
    labels = image.labels_of(new, lock, stored.compiler, needs, stored.packer)
    made = image.assemble(new, parts, labels, needs)
    store.put_blob(repo, made.config_descriptor, partial(io.BytesIO, made.config))
    digest = made.manifest.digest
    store.put_manifest(repo, made.manifest, tags=[tag_of(digest)])
    return Image(store.reference(repo, digest), digest, made.size_bytes, made.layers)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _cuda(base: Base) -> str:
    return f"CUDA {base.cuda}" if base.cuda else "no CUDA"
