"""What the commands share."""

import argparse
from collections.abc import Callable


def run(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None]) -> None:
    """Parse the command line and do the work; a foreseeable failure is one line and exit code 2."""
    args = parser.parse_args()
    try:
        work(args)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
