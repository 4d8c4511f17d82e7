"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import click

_Callback: TypeAlias = Callable[[click.Context, click.Parameter, Sequence[str]], tuple[str, ...]]


def listed(*known: str) -> _Callback:
    """Reads an option that may be repeated and may hold several values with commas between."""

    def read(
        context: click.Context, option: click.Parameter, given: Sequence[str]
    ) -> tuple[str, ...]:
        values = tuple(value.strip() for text in given for value in text.split(","))
        for value in values:
            if value not in known:
                raise click.BadParameter(
                    f"{value!r} is not one of {', '.join(known)}.", ctx=context, param=option
                )
        return tuple(dict.fromkeys(values))

    return read


accelerator = click.option(
    "--accelerator",
    metavar="cpu|cuda|tpu",
    type=click.Choice(["cpu", "cuda", "tpu"]),
    help="Of several images the one for this; the default one otherwise.",
)
target = click.option(
    "--target", metavar="NAME", help="Name it in the registry of this target, another cluster."
)
wait_s = click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=click.FloatRange(0, 86400),
    default=0.0,
    help="How long to wait until it is there; without it, what isn't is an error.",
)
platform = click.option(
    "--platform", metavar="OS/ARCH", help="Of several images the one for this, as linux/arm64."
)
