from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def cluster(example: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gan3d_cluster", example / "gan3d/cluster.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def tf_config(role: str, index: int, **sizes: int) -> dict[str, str]:
    hosts = {name: [f"gan3d-{name}-{i}:2222" for i in range(size)] for name, size in sizes.items()}
    return {"TF_CONFIG": json.dumps({"cluster": hosts, "task": {"type": role, "index": index}})}


@pytest.mark.parametrize(
    ("env", "rank", "size"),
    [
        ({}, 0, 1),
        ({"RANK": "2", "WORLD_SIZE": "4"}, 2, 4),
        ({"TF_CONFIG": "{}"}, 0, 1),
        (tf_config("chief", 0, chief=1, worker=15), 0, 16),
        (tf_config("worker", 0, chief=1, worker=15), 1, 16),
        (tf_config("worker", 14, chief=1, worker=15), 15, 16),
        (tf_config("worker", 0, worker=2), 0, 2),
    ],
)
def test_a_process_knows_its_rank_and_only_the_first_is_chief(
    cluster: ModuleType, env: dict[str, str], rank: int, size: int
) -> None:
    worker = cluster.Worker.from_env(env)
    assert (worker.rank, worker.size, worker.chief) == (rank, size, rank == 0)


@pytest.mark.parametrize(
    "env",
    [
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"RANK": "first"},
        {"TF_CONFIG": "{"},
        {"TF_CONFIG": "[]"},
        {"TF_CONFIG": '{"cluster": {"worker": ["a"]}, "task": 1}'},
        tf_config("evaluator", 0, chief=1, worker=1),
        tf_config("worker", 3, chief=1, worker=1),
    ],
)
def test_an_unreadable_cluster_is_refused_in_one_sentence(
    cluster: ModuleType, env: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=r"rank|cannot be read") as refusal:
        cluster.Worker.from_env(env)
    assert "\n" not in str(refusal.value)
