"""The layer on top: the lock and the facts about it, at a known path in the image."""

from __future__ import annotations

import json
from typing import BinaryIO

from builder import skeleton
from builder.cuda import Cuda
from builder.layers import archive
from builder.model import Base, Lock

LOADER_PATH = "etc/ld.so.conf.d/kitbag-cuda.conf"
"""Where the loader's cache is told of NVIDIA's libraries.

torch, tensorflow and jax find them by themselves (RUNPATH and preloading); others, such as
onnxruntime-gpu, ask the loader. NVIDIA's container runtime makes the cache anew (`ldconfig`) in
every container that gets a GPU, since it adds the driver's libraries, and reads this file then.
"""


def write(out: BinaryIO, base: Base, lock: Lock, cuda: Cuda | None = None) -> archive.Written:
    """`/opt/kitbag/pylock.toml` and `/opt/kitbag/environment.json`, owned by root.

    With libraries for CUDA also the loader's `kitbag-cuda.conf`.
    """
    writer = archive.LayerWriter(out)
    writer.mark()
    if cuda is not None and cuda.folders:
        site = f"{skeleton.PREFIX}/{skeleton.prefix_of(base).site_packages}"
        lines = "".join(f"{site}/{folder}\n" for folder in cuda.folders)
        writer.folder("etc", uid=0, gid=0)
        writer.folder("etc/ld.so.conf.d", uid=0, gid=0)
        writer.file(LOADER_PATH, lines.encode(), uid=0, gid=0)
    writer.folder("opt", uid=0, gid=0)
    writer.folder(skeleton.OWN.strip("/"), uid=0, gid=0)
    facts = {
        "base": {"name": base.name, "digest": base.digest},
        "packages": {item.name: item.version for item in lock.wheels},
        "prefix": skeleton.PREFIX,
        "python": base.python.version,
    }
    text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
    writer.file(skeleton.FACTS_PATH.strip("/"), text.encode(), uid=0, gid=0)
    writer.file(skeleton.LOCK_PATH.strip("/"), lock.text.encode(), uid=0, gid=0)
    writer.mark()
    return writer.finish()
