from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KITBAG = Path(sys.executable).with_name("kitbag")
IMAGE = "registry.example.org/hep/3dgan@sha256:" + "5e" * 32
USER_CONTAINERS = {
    "k8s/inferenceservice.yaml": 1,
    "k8s/katib.yaml": 1,
    "k8s/notebook.yaml": 1,
    "k8s/tfjob.yaml": 2,
    "pipeline.yaml": 4,
}


def test_pinning_the_repo_changes_the_image_of_each_user_container_and_nothing_else(
    example: Path, tmp_path: Path
) -> None:
    command = [str(KITBAG), "pin", ".", "--image", IMAGE, "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=example, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    changed = {}
    for name in USER_CONTAINERS:
        before = (example / name).read_text().splitlines()
        after = (tmp_path / name).read_text().splitlines()
        pairs = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        assert all("image: " in old and IMAGE in new for old, new in pairs)
        changed[name] = len(pairs)
    assert changed == USER_CONTAINERS
    init = "image: alpine/git:v2.47.2"
    assert (tmp_path / "k8s/tfjob.yaml").read_text().count(init) == 2
