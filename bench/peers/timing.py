"""What a measurement gives back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ONE_MORE = "humanize==4.9.0"

# How the lines of uv and of BuildKit's plain progress name what took how long.
_PHASES = {
    "resolve": r"Resolved \d+ packages? in ((?:\d+m )?\S+)",
    "download": r"Prepared \d+ packages? in ((?:\d+m )?\S+)",
    "install": r"Installed \d+ packages? in ((?:\d+m )?\S+)",
    "bytecode": r"Bytecode compiled \d+ files? in ((?:\d+m )?\S+)",
    "export": r"exporting layers (\S+) done",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """One measured run; `total_s` is what a user waits, the phases say where it went."""

    total_s: float
    phases_s: dict[str, float] = field(default_factory=dict)
    pushed_bytes: int = 0
    image: str = ""


def one_more(requirements: Path, folder: Path, package: str = ONE_MORE) -> Path:
    """Write the same requirements with one more package into `folder`; returns the new file."""
    path = folder / f"one-more-{requirements.name}"
    path.write_text(f"{requirements.read_text().rstrip()}\n{package}\n")
    return path


def read_phases(output: str) -> dict[str, float]:
    """What uv and BuildKit said of their own phases, in seconds."""
    found = {}
    for phase, pattern in _PHASES.items():
        match = re.search(pattern, output)
        if match:
            found[phase] = _seconds(match[1])
    return found


def _seconds(text: str) -> float:
    """The length of "1m 02s", "4.57s", "951ms"."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(ms|s|m)", text))
