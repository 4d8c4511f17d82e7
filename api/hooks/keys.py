"""The secret of a hook: it follows from the server's key, so that it is kept nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac

from api.problems import ProblemError, Slug
from api.settings import ApiSettings
from catalog.hook_models import Hook


def secret_of(settings: ApiSettings, hook: Hook) -> str:
    """What the forge signs with; another one for each hook and each renewal of it."""
    text = f"kitbag-hook.{hook.id}.{hook.generation}".encode()
    mac = hmac.new(_key(settings), text, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _key(settings: ApiSettings) -> bytes:
    if settings.hook_key is None:
        raise ProblemError(
            Slug.UNAVAILABLE,
            "This server takes no webhooks; its operator must set KITBAG_HOOK_KEY.",
        )
    return settings.hook_key.get_secret_value().encode()
