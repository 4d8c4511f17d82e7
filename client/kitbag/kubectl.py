"""Server-side apply by the user's own kubectl, which knows their cluster and its log-in."""

from __future__ import annotations

import shutil
import subprocess

from kitbag.errors import KitbagError

FIELD_MANAGER = "kitbag"


def apply(
    manifests: bytes,
    *,
    namespace: str | None = None,
    context: str | None = None,
    force_conflicts: bool = False,
    dry_run: bool = False,
) -> list[str]:
    """Apply these objects; returns kubectl's line for each.

    `dry_run` asks the API server to check them and change nothing. Raises KitbagError, with
    kubectl's own words on stderr, where it is missing or says no.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise KitbagError(
            "kubectl is not on PATH: install it, or apply what `kitbag pin` prints by other means"
        )
    command = [program, "apply", "--server-side", f"--field-manager={FIELD_MANAGER}"]
    command += [f"--namespace={namespace}"] if namespace else []
    command += [f"--context={context}"] if context else []
    command += ["--force-conflicts"] if force_conflicts else []
    command += ["--dry-run=server"] if dry_run else []
    command += ["-f", "-"]
    done = subprocess.run(command, input=manifests, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise KitbagError(
            f"kubectl apply ended with exit code {done.returncode}: repair what it says above and"
            " apply again"
        )
    return done.stdout.decode(errors="replace").splitlines()
