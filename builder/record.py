"""The layer on top: the lock and the facts about it, at a known path in the image."""

from __future__ import annotations

import json
from typing import BinaryIO

from builder import skeleton
from builder.layers import archive
from builder.model import Base, Lock


def write(out: BinaryIO, base: Base, lock: Lock) -> archive.Written:
    """`/opt/kitbag/pylock.toml` and `/opt/kitbag/environment.json`, owned by root."""
    writer = archive.LayerWriter(out)
    writer.mark()
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
