"""How fast pins are, and how much memory they take, beside ruamel.yaml's load and dump.

    python bench/pin.py [--json]

Each row pins generated files in this process; the peer reads and writes a sample of the same bytes
and is scaled to the row's size. Memory is the traced peak above what was there before, as a
multiple of the file. Seconds are CPU seconds of one core.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import sys
import time
import tracemalloc
from collections.abc import Callable

from ruamel.yaml import YAML

from kitbag.specs import Target, builtin, pin

DIGEST = "registry.example.org/kitbag/alice/3dgan@sha256:" + "5" * 64
PEER_BYTES = 100_000


def notebook(number: int) -> bytes:
    """A Notebook of about 5 KB, with comments, environment, volumes and a sidecar."""
    env = "".join(
        f'        - name: SETTING_{i}\n          value: "value of setting {i}"  # why it is set\n'
        for i in range(24)
    )
    volumes = "".join(
        f"      - name: data-{i}\n        persistentVolumeClaim:\n          claimName: claim-{i}\n"
        f"          readOnly: {str(i % 2 == 0).lower()}\n"
        for i in range(12)
    )
    mounts = "".join(f"        - {{name: data-{i}, mountPath: /data/{i}}}\n" for i in range(12))
    return f"""\
# The notebook of user {number}: managed by the platform team, see the runbook.
apiVersion: kubeflow.org/v1
kind: Notebook
metadata:
  name: notebook-{number}
  namespace: user-{number}
  labels:
    app: notebook-{number}
    team: physics
  annotations:
    notebooks.kubeflow.org/server-type: jupyter
spec:
  template:
    spec:
      serviceAccountName: default-editor
      containers:
      - name: notebook-{number}
        image: registry.example.org/notebooks/base:v1.9.{number}   # pinned by kitbag
        imagePullPolicy: IfNotPresent
        command: ["sh", "-c"]
        args:
        - |
          set -eu
          echo "image: {number} is only text"
          exec jupyter lab --ServerApp.base_url="$NB_PREFIX" --ip=0.0.0.0 --port=8888
        resources:
          requests: {{cpu: "2", memory: 8Gi}}
          limits:
            cpu: "4"
            memory: 16Gi
            nvidia.com/gpu: 1
        env:
{env}        volumeMounts:
{mounts}      - name: istio-proxy
        image: docker.io/istio/proxyv2:1.20
      volumes:
{volumes}""".encode()


def pipeline(size_bytes: int) -> bytes:
    """A KFP v2 IR file in the compiler's style, of at least so many bytes."""
    code = (
        r"\nimport kfp\nfrom kfp import dsl\n\ndef step(rows: int) -> str:\n    return 'x' * rows\n"
    )
    components, executors = ["components:\n"], ["deploymentSpec:\n  executors:\n"]
    written = number = 0
    while written < size_bytes:
        components.append(
            f"  comp-step-{number}:\n    executorLabel: exec-step-{number}\n"
            "    inputDefinitions:\n      parameters:\n        rows:\n"
            "          defaultValue: 10.0\n          isOptional: true\n"
            "          parameterType: NUMBER_INTEGER\n    outputDefinitions:\n      parameters:\n"
            "        Output:\n          parameterType: STRING\n"
        )
        executors.append(
            f"    exec-step-{number}:\n      container:\n        args:\n"
            "        - --executor_input\n        - '{{$}}'\n        - --function_to_execute\n"
            "        - step\n        command:\n        - sh\n        - -c\n"
            '        - "\\nif ! [ -x \\"$(command -v pip)\\" ]; then\\n python3 -m ensurepip ||\\\n'
            "          \\ python3 -m ensurepip --user || apt-get install python3-pip\\nfi\\n\\n"
            'python3 -m pip install --quiet kfp && \\"$0\\" \\"$@\\"\\n"\n'
            "        - sh\n        - -ec\n        - 'program_path=$(mktemp -d)\n\n\n"
            '          printf "%s" "$0" > "$program_path/ephemeral_component.py"\n\n'
            "          _KFP_RUNTIME=true python3 -m kfp.dsl.executor_main "
            '--component_module_path "$program_path/ephemeral_component.py" "$@"\n\n'
            f'          \'\n        - "{code}"\n        image: python:3.11-slim\n'
        )
        written += len(components[-1]) + len(executors[-1])
        number += 1
    tail = (
        "pipelineInfo:\n  name: big\nroot:\n  dag:\n    tasks: {}\n"
        "schemaVersion: 2.1.0\nsdkVersion: kfp-2.13.0\n"
    )
    return "".join([*components, *executors, tail]).encode()


def as_json(size_bytes: int) -> bytes:
    """The same pipeline as indented JSON."""
    plain = YAML(typ="safe", pure=True).load(pipeline(30_000).decode())
    executors = plain["deploymentSpec"]["executors"]
    sample = json.dumps(executors, indent=2)
    copies = size_bytes // len(sample) + 1
    plain["deploymentSpec"]["executors"] = {
        f"{name}-{copy}": value for copy in range(copies) for name, value in executors.items()
    }
    return json.dumps(plain, indent=2).encode()


def peer(sample: bytes) -> float:
    """Seconds a byte of ruamel's round-trip load and dump."""
    start = time.process_time()
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.dump_all(list(yaml.load_all(sample.decode())), io.StringIO())
    return (time.process_time() - start) / len(sample)


def measured(
    name: str, files: list[bytes], goal_s: float | None, sample: bytes
) -> dict[str, object]:
    """One row: the best of three runs, then one more for memory."""
    target = Target(image=DIGEST)
    size = sum(map(len, files))

    def run() -> int:
        return sum(len(pin(data, target).changes) for data in files)

    best = min(timed(run) for _ in range(3))
    biggest = max(files, key=len)
    gc.collect()
    tracemalloc.start()
    pin(biggest, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "what": name,
        "files": len(files),
        "mb": round(size / 1e6, 2),
        "changes": run(),
        "seconds": round(best, 3),
        "goal_s": goal_s,
        "mb_per_s": round(size / 1e6 / best, 2),
        "peer_seconds": round(peer(sample) * size, 1),
        "memory_x": round(peak / len(biggest), 1) if len(biggest) > 100_000 else None,
    }


def timed(run: Callable[[], object]) -> float:
    """CPU seconds of one run: what an idle machine would take."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> int:
    """Print the table; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    first = timed(builtin)
    notebooks = [notebook(number) for number in range(1000)]
    sample = b"---\n".join(notebooks[:20])
    small = pipeline(PEER_BYTES)
    rows = [
        measured("1,000 notebooks", notebooks, 3.0, sample),
        measured("pipeline, 1 MB", [pipeline(1_000_000)], 0.5, small),
        measured("pipeline, 1 MB, JSON", [as_json(1_000_000)], 0.5, small),
        measured("pipeline, 20 MB", [pipeline(20_000_000)], None, small),
    ]
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print(f"table of kinds read once: {first * 1000:.1f} ms")
        print(f"{'':24}{'MB':>7}{'seconds':>9}{'goal':>6}{'MB/s':>7}{'ruamel s':>10}{'memory':>8}")
        for row in rows:
            memory = f"{row['memory_x']} x" if row["memory_x"] else ""
            print(
                f"{row['what']:24}{row['mb']:>7}{row['seconds']:>9}{row['goal_s'] or '':>6}"
                f"{row['mb_per_s']:>7}{row['peer_seconds']:>10}{memory:>8}"
            )
    missed = [row["what"] for row in rows if row["goal_s"] and row["seconds"] > row["goal_s"]]
    if missed:
        print("missed:", ", ".join(map(str, missed)), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
