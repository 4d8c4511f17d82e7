"""Which of a job's processes this is."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of `size`. Rank 0 is the chief: the only one that writes."""

    rank: int
    size: int

    @property
    def chief(self) -> bool:
        return self.rank == 0

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Worker":
        """Read TF_CONFIG, which the TFJob operator sets, else RANK and WORLD_SIZE, else be alone.

        As in TensorFlow, worker 0 is the chief of a cluster that names none.
        """
        try:
            if text := env.get("TF_CONFIG"):
                rank, size = _from_tf_config(json.loads(text))
            else:
                rank, size = int(env.get("RANK", "0")), int(env.get("WORLD_SIZE", "1"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"TF_CONFIG, RANK or WORLD_SIZE cannot be read: {error}") from error
        if not 0 <= rank < size:
            raise ValueError(f"rank {rank} is not one of {size} workers")
        return cls(rank, size)


def _from_tf_config(config: dict[str, Any]) -> tuple[int, int]:
    hosts, task = config.get("cluster"), config.get("task")
    if not hosts or not task:
        return 0, 1
    roles = ("chief", "worker")
    role, index = roles.index(task["type"]), int(task["index"])
    sizes = [len(hosts.get(name, ())) for name in roles]
    return sum(sizes[:role]) + index, sum(sizes)
