"""Kale: a notebook's environment, and its digest in the notebook's own metadata.

Kale makes a Kubeflow pipeline of a notebook whose cells are tagged. Its steps run the image of the
notebook's metadata: `kubeflow_notebook.base_image` since 2.0, `docker_image` before.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitbag.errors import KitbagError, PackError
from kitbag.inline import texts
from kitbag.pip_command import Install, install
from kitbag.refs import SCHEME, EnvRef
from kitbag.source import DEFAULT_NAMESPACE, Files, derived_name
from kitbag.specs import Pinned, SpecError, Target, pin
from kitbag.specs.add import Value, added
from kitbag.specs.nodes import Mapping as Node
from kitbag.specs.path import members
from kitbag.specs.read import read as read_nodes
from kitbag.specs.source import MAX_BYTES, Source

METADATA = "kubeflow_notebook"
# The key that Kale reads, newest first; one that knows the one refuses the other.
KEYS = ("base_image", "docker_image")

_REQUIREMENTS = "requirements.txt"
_COMPILE_TIMEOUT_S = 600
# `%pip install …` and `!pip install …`, and with a `python -m` before it.
_PIP = re.compile(r"[ \t]*[%!][ \t]*(?:[\w./]*python3?[ \t]+-m[ \t]+)?pip3?[ \t]+install[ \t]+(.*)")


@dataclass(frozen=True)
class Notebook:
    """A notebook as Kale sees it; `data` are its bytes."""

    path: Path
    data: bytes
    cells: tuple[str, ...]
    image: str

    @property
    def environment(self) -> EnvRef | None:
        """The environment that its metadata names, as `kitbag://NS/NAME[:VERSION]`."""
        if not self.image.startswith(SCHEME):
            return None
        try:
            return EnvRef.parse(self.image)
        except ValueError as error:
            raise PackError(f"{self.path}: {error}") from error


def read(path: str | Path) -> Notebook:
    """The notebook at a path; raises PackError for what is none."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise PackError(f"{file} can't be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise PackError(f"{file} is over {MAX_BYTES >> 20} MiB: clear its outputs")
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise PackError(f"{file} is no notebook: it is not JSON in UTF-8") from error
    cells = content.get("cells") if isinstance(content, Mapping) else None
    if not isinstance(cells, list) or not isinstance(content.get("metadata"), Mapping):
        raise PackError(f"{file} is no notebook: it lacks cells or metadata; open and save it")
    said = content["metadata"].get(METADATA)
    if said is not None and not isinstance(said, Mapping):
        raise PackError(f"{file}: metadata.{METADATA} is not what Kale writes: repair it")
    image = next((said[key] for key in KEYS if said and isinstance(said.get(key), str)), "")
    return Notebook(file, data, tuple(_code(cells)), image)


def _code(cells: list[Any]) -> Iterator[str]:
    for cell in cells:
        if isinstance(cell, Mapping) and cell.get("cell_type") == "code":
            text = cell.get("source")
            yield "".join(map(str, text)) if isinstance(text, list) else str(text or "")


def source(notebook: Notebook) -> tuple[Files, Install] | None:
    """What the notebook says it needs: a requirements.txt beside it and its `%pip install` lines.

    Files to build, named default/NOTEBOOK, and the indexes that the lines name. None where neither
    says anything: imports alone don't tell which packages they are of. Raises PackError.
    """
    beside = notebook.path.parent / _REQUIREMENTS
    files = dict(texts(beside)) if beside.is_file() else {}
    lines: dict[str, None] = {}
    indexes: dict[str, None] = {}
    default: str | None = None
    for words in _pip_lines(notebook):
        rest = _without_file(words) if files else words
        found = install(rest, f"{notebook.path}: a cell")
        lines |= dict.fromkeys(found.packages)
        indexes |= dict.fromkeys(found.indexes)
        default = found.default_index or default
    if lines:
        # A file that lacks its last newline must not swallow the first line.
        text = files.get(_REQUIREMENTS, "")
        end = "" if not text or text.endswith("\n") else "\n"
        known = set(text.splitlines())
        more = "".join(f"{line}\n" for line in lines if line not in known)
        files[_REQUIREMENTS] = text + end + more
    if not files:
        return None
    title = derived_name(notebook.path.stem)
    environment = f"{DEFAULT_NAMESPACE}/{title}" if title else None
    return Files(files, environment), Install(tuple(lines), tuple(indexes), default)


def _pip_lines(notebook: Notebook) -> Iterator[list[str]]:
    for cell in notebook.cells:
        for line in cell.replace("\\\n", " ").splitlines():
            match = _PIP.fullmatch(line)
            if match:
                try:
                    yield shlex.split(match[1], comments=True)
                except ValueError as error:
                    raise PackError(
                        f"{notebook.path}: {line.strip()} can't be read: {error}"
                    ) from None


def _without_file(words: list[str]) -> list[str]:
    """The words but for the `-r requirements.txt` that is taken anyway."""
    rest = list(words)
    for option in ("-r", "--requirement"):
        while option in rest:
            at = rest.index(option)
            if rest[at + 1 : at + 2] not in ([_REQUIREMENTS], [f"./{_REQUIREMENTS}"]):
                break
            del rest[at : at + 2]
    return rest


def pinned(notebook: Notebook, image: str) -> Pinned:
    """The notebook with this image for its steps; every other byte stays. Raises KitbagError.

    The image goes to `base_image`, or `docker_image` where only that is there, and to the `image:`
    tags of cells; `base_image` is added to a notebook that has neither.
    """
    name = str(notebook.path)
    try:
        data = _with_key(notebook.data, name, image)
        done = pin(data, Target(image=image), filename=name)
    except SpecError as error:
        raise KitbagError(str(error)) from error
    return done


def _with_key(data: bytes, name: str, image: str) -> bytes:
    """The notebook with a `base_image` if Kale would find none in it."""
    text = Source(data, name)
    for root in read_nodes(text):
        metadata = _member(root, "metadata")
        there = _member(metadata, METADATA) if metadata else None
        if metadata is None or (there and any(True for key in KEYS for _ in members(there, key))):
            continue
        key: dict[str, Value] = {KEYS[0]: image}
        edits = added(text, there, key) if there else added(text, metadata, {METADATA: key})
        return text.splice([one.edit for one in edits])
    return data


def _member(node: object, key: str) -> Node | None:
    if not isinstance(node, Node):
        return None
    found = next((value for _, value in members(node, key)), None)
    return found if isinstance(found, Node) else None


def compiled(path: Path, image: str) -> Path:
    """The pipeline that Kale makes of a notebook, in the folder `.kale` beside it.

    Runs the `kale` command of the PATH, in whose environment the image is also the default of
    notebooks without one. Raises KitbagError: no Kale, or what it says.
    """
    kale = shutil.which("kale")
    if kale is None:
        raise KitbagError(
            "kale is not on the PATH: `pip install kubeflow-kale` brings it; without --compile the"
            " notebook is pinned alone"
        )
    folder = path.absolute().parent
    before = _made(folder)
    env = {**os.environ, "KALE_DEFAULT_BASE_IMAGE": image}
    try:
        done = subprocess.run(
            [kale, "--nb", path.name],
            cwd=folder,
            env=env,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_COMPILE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise KitbagError(f"kale took over {_COMPILE_TIMEOUT_S} s for {path}: run it") from error
    after = _made(folder)
    new = [file for file, at in after.items() if before.get(file) != at]
    if done.returncode != 0 or not new:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise KitbagError(f"kale can't compile {path}: {lines[-1] if lines else 'no pipeline'}")
    return max(new, key=lambda file: after[file])


def _made(folder: Path) -> dict[Path, int]:
    """Kale's compiled pipelines and when they were written, in ns."""
    return {file: file.stat().st_mtime_ns for file in folder.glob(".kale/*.pipeline.yaml")}
