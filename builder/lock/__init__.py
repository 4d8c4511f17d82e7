"""From what a source asks for to exact packages with hashes, for one Python and platform."""

from builder.lock.lock import lock
from builder.lock.model import DEFAULT_SEED, Target, UvSettings
from builder.lock.pylock import lock_digest, parse

__all__ = ["DEFAULT_SEED", "Target", "UvSettings", "lock", "lock_digest", "parse"]
