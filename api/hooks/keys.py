"""The secret of a hook: it follows from the server's key, so that it is kept nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac

from pydantic import SecretStr

from api.problems import ProblemError, Slug
from api.settings import ApiSettings
from catalog.hook_models import Hook


def secret_of(settings: ApiSettings, hook: Hook) -> str:
    """What the forge signs with; another one for each hook and each renewal of it."""
    if settings.hook_key is None:
        raise ProblemError(
            Slug.UNAVAILABLE,
            "This server takes no webhooks; its operator must set KITBAG_HOOK_KEY.",
        )
    return _made(settings.hook_key, hook)


def secrets_of(settings: ApiSettings, hook: Hook) -> tuple[str, ...]:
    """What a delivery may be signed with: its secret, and the one by the key before."""
    before = settings.hook_key_before
    return (secret_of(settings, hook), *(() if before is None else (_made(before, hook),)))


def _made(key: SecretStr, hook: Hook) -> str:
    text = f"kitbag-hook.{hook.id}.{hook.generation}".encode()
    mac = hmac.new(key.get_secret_value().encode(), text, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")
