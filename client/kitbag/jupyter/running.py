"""Which version of an environment the running image is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kitbag.capture.image import LOCK, Image
from kitbag.client import Client
from kitbag.errors import KitbagError
from kitbag.versions import Version


def running(
    client: Client, image: Image, versions: Sequence[Version], *, lock: Path = LOCK
) -> Version | None:
    """The newest of these versions with an image of the same lock; None if there is none.

    An image can't know its own digest, so its lock is what tells: its packages, files and hashes.
    A rebase keeps the lock and the base's name, so it isn't told from the version before it.
    Of versions with the same packages only those are asked for in whole.
    """
    try:
        text = lock.read_text()
    except OSError as error:
        raise KitbagError(f"{lock} can't be read: {error.strerror}") from error
    for version in versions:
        for made in version.images:
            if made.packages != len(image.packages) or made.base != image.base:
                continue
            whole = client.version(
                version.name, accelerator=made.accelerator, platform=made.platform
            )
            if whole.lock == text:
                return version
    return None
