"""Takes secrets out of text that people will read: by their form, and those that are known."""

from __future__ import annotations

import re
import threading

HIDDEN = "[hidden]"
_SHORTEST = 8
"""A shorter value would hide half of every line, and is no secret worth the name."""

# In each, the group `keep` stays in front of what is hidden.
_FORMS = re.compile(
    r"""
    (?P<pem>-----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z))
    | (?P<jwt>\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)
    | (?P<prefixed>\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|pypi-|kbt_)[\w-]{10,})
    | (?P<user>(?<=://)[^\s/@'"]{1,4096}(?=@))
    | (?P<keep>(?i:\b(?:proxy-)?authorization|\b(?:set-)?cookie|\bx-gitlab-token)['"]?\s*[:=]\s*
        ['"]?(?:(?i:bearer|basic|token)\s+)?)(?P<header>[^\s'",;]+)
    | (?P<keep2>(?i:bearer|basic)\s+)(?P<bare>[\w.~+/=-]{12,})
    | (?P<keep3>(?i:(?:[\w-]*(?:password|passwd|secret|token|signature|credential|api_?key|
        private_?key)|\bsig))['"]?\s*[=:]\s*['"]?)(?P<value>[^\s&'",;}]+)
    """,
    re.VERBOSE | re.DOTALL,
)

_lock = threading.Lock()
_known: set[str] = set()
_values: re.Pattern[str] | None = None


def hide(*values: str | None) -> None:
    """Hide these values from now on, wherever they stand; short ones are left alone."""
    global _values
    new = {value for value in values if value and len(value) >= _SHORTEST} - _known
    if not new:
        return
    with _lock:
        _known.update(new)
        longest_first = sorted(_known, key=len, reverse=True)
        _values = re.compile("|".join(map(re.escape, longest_first)))


def redacted(text: str) -> str:
    """The text without what is, or looks like, a secret."""
    if _values is not None:
        text = _values.sub(HIDDEN, text)
    return _FORMS.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    kept = match["keep"] or match["keep2"] or match["keep3"] or ""
    return f"{kept}{HIDDEN}"
