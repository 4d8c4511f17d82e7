"""What a pipeline's Python file compiles to, found out by the user's own Python."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kitbag.errors import PackError

_TIMEOUT_S = 300

# Runs in the other Python, which has kfp and perhaps no kitbag.
_SCRIPT = """
import importlib.util, json, os, pathlib, sys

file, out = sys.argv[1:]
sys.path.insert(0, os.path.dirname(file))
try:
    from google.protobuf import json_format
    from kfp.dsl.base_component import BaseComponent
except ImportError as error:
    pathlib.Path(out).write_text(json.dumps({"missing": str(error)}))
    sys.exit(3)
spec = importlib.util.spec_from_file_location("kitbag_pipeline", file)
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
# Pipelines last: what they name is what counts for the name of the environment.
found = [v for v in vars(module).values() if isinstance(v, BaseComponent)]
whole = [v for v in found if type(v).__name__ == "GraphComponent"]
specs = [json_format.MessageToDict(v.pipeline_spec) for v in whole or found]
pathlib.Path(out).write_text(json.dumps({"specs": specs}))
"""


def compiled(file: Path, interpreter: str | None = None) -> list[Any]:
    """The IR of each pipeline in a file, or of each component if it has no pipeline.

    The file is imported, its `__main__` part is not run. Raises PackError with the last line of
    what Python says.
    """
    python = interpreter or _python()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "specs.json"
        arguments = [python, "-c", _SCRIPT, str(file.resolve()), str(out)]
        # A compiler of steps asks no server for what is only collected here.
        env = {**os.environ, "KITBAG_OFFLINE": "1"}
        try:
            done = subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
                env=env,
            )
        except OSError as error:
            raise PackError(f"{python} can't be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise PackError(
                f"importing {file} took over {_TIMEOUT_S} s: compile it and give the result"
            ) from error
        try:
            told = json.loads(out.read_text())
        except (OSError, ValueError):
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"Python ended with {done.returncode}"
            raise PackError(f"{file} can't be imported by {python}: {why}") from None
    if "missing" in told:
        raise PackError(
            f"{python} has no kfp ({told['missing']}): install it there, name another Python with"
            " --interpreter, or give the compiled pipeline"
        )
    specs: list[Any] = told["specs"]
    return specs


def _python() -> str:
    """The user's Python: the active environment's, this one if it has kfp, else the PATH's."""
    active = os.environ.get("VIRTUAL_ENV")
    own = Path(active, "bin", "python") if active else None
    if own and own.exists():
        return str(own)
    if importlib.util.find_spec("kfp") is not None:
        return sys.executable
    return shutil.which("python3") or sys.executable
