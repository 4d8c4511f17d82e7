"""The `kitbag` command: this layer only reads arguments and prints.

Exit codes: 0 done, 1 the answer is "no" or "would change", 2 an error with one line on stderr, 130
interrupted.
"""

from __future__ import annotations

import os
import sys

import click

from kitbag import __version__
from kitbag.cli import (
    audit,
    bases,
    builds,
    capture,
    environments,
    hooks,
    kale,
    kinds,
    live,
    login,
    manifests,
    notebooks,
    quota,
    rollouts,
    supply,
    tokens,
)
from kitbag.cli.output import clean
from kitbag.errors import KitbagError

_ERROR = 2
_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="kitbag")
def kitbag() -> None:
    """Pack an environment once and carry it everywhere as one image digest.

    The server is the one of KITBAG_URL and KITBAG_TOKEN, else the one of `kitbag login`, else
    http://127.0.0.1:8484.
    """


for _command in (
    builds.build,
    builds.plan,
    builds.logs,
    builds.cancel,
    capture.capture,
    notebooks.launch,
    notebooks.restart,
    environments.resolve,
    environments.ls,
    environments.offer,
    environments.show,
    environments.history,
    environments.diff,
    environments.rollback,
    quota.quota,
    audit.audit,
    bases.verify,
    bases.rebase,
    manifests.pin,
    manifests.apply,
    kinds.specs,
    kale.kale,
    live.where,
    rollouts.rollout,
    hooks.hook,
    supply.who_has,
    login.login,
    tokens.whoami,
    tokens.token,
):
    kitbag.add_command(_command)


def main() -> int:
    """Run the command line of this process; returns its exit code."""
    # httpx imports its own command line, and with it rich and pygments, only to offer it: that
    # takes longer than most commands here. It does without where that import fails.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    try:
        # https://no-color.org; None leaves it to click, which looks for a terminal.
        code = kitbag.main(
            standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        return _INTERRUPTED
    except KitbagError as error:
        _say(str(error))
        return _ERROR
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}")
        return _ERROR
    except Exception:  # noqa: BLE001 - Python's own exit code for these would read as "no"
        import traceback

        traceback.print_exc()
        _say("this is a bug in kitbag: please report the lines above")
        return _ERROR
    return code if isinstance(code, int) else 0


def _say(sentence: str) -> None:
    click.echo(f"kitbag: {clean(sentence)}", err=True)
