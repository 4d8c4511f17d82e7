"""Locks that a source brings along: pylock.toml, uv.lock."""

from __future__ import annotations

from pathlib import Path

from builder.choices import Choices
from builder.detect import Detected, Kind
from builder.detect.files import read_text
from builder.errors import InvalidSpecError
from builder.lock import pylock
from builder.lock.allowed import check_locked
from builder.lock.model import Target, UvSettings
from builder.lock.uv import Uv
from builder.model import Lock
from builder.source.url import strip_userinfo

MAX_LOCK_BYTES = 16 << 20


def lock_given(
    root: Path,
    detected: Detected,
    target: Target,
    settings: UvSettings,
    folder: Path,
    choices: Choices,
) -> Lock:
    """The part of the source's own lock that fits the target, nothing resolved anew."""
    file = detected.files[0]
    if detected.kind is Kind.UV_LOCK:
        text = _exported(root, detected, settings, folder, choices)
    else:
        text = read_text(root, file, MAX_LOCK_BYTES)
    chosen = choices if detected.kind is Kind.PYLOCK else Choices()  # exported with them already
    wheels, direct = pylock.select(pylock.load(text, file), target, file, chosen)
    check_locked(wheels, settings)
    return pylock.make(wheels, direct, target)


def _exported(
    root: Path,
    detected: Detected,
    settings: UvSettings,
    folder: Path,
    choices: Choices,
) -> str:
    """uv.lock as pylock.toml, by uv without network, from copies of the two files alone."""
    lock_file, project_file = detected.files[0], detected.files[1]
    (folder / "uv.lock").write_text(read_text(root, lock_file, MAX_LOCK_BYTES))
    (folder / "pyproject.toml").write_text(read_text(root, project_file))
    output = folder / "pylock.exported.toml"
    ran = Uv(settings, folder)(
        "export", "--frozen", "--offline", "--quiet", "--no-header", "--no-annotate",
        "--no-emit-workspace", "--no-default-groups", "--format", "pylock.toml",
        "--output-file", str(output),
        *(f"--extra={extra}" for extra in sorted(choices.extras)),
        *(f"--group={group}" for group in sorted(choices.groups)),
    )  # fmt: skip
    if ran.status:
        lines = [line.strip() for line in strip_userinfo(ran.err).splitlines() if line.strip()]
        reason = " ".join(lines).removeprefix("error: ").rstrip(".")[:300]
        raise InvalidSpecError(f"'{lock_file}' can't be exported: {reason}.", file=lock_file)
    return output.read_text()
