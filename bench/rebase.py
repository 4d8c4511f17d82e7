"""How long a base swap under many environments takes, in a layout or in a registry.

    python bench/rebase.py [--environments 1000] [--packages 60] [--store registry://HOST/PREFIX]

Environments with a lock and layers of their own are published, then rebased as a worker does it.
The layers are small, since a rebase reads none of them. Without --store it is a layout in a
temporary folder. Prints one JSON line; seconds of the wall.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from builder import image  # noqa: E402
from builder.layered import layers_of  # noqa: E402
from builder.layers import gz  # noqa: E402
from builder.layers.group import group  # noqa: E402
from builder.lock import parse  # noqa: E402
from builder.model import LAYER_TYPE, Base, Descriptor, Layer, Platform, PythonInfo  # noqa: E402
from builder.stores.protocol import Store  # noqa: E402
from catalog import bases, builds, environments, versions  # noqa: E402
from catalog.engine import migrate, writing  # noqa: E402
from worker import rebasing  # noqa: E402
from worker.services import Services  # noqa: E402
from worker.settings import WorkerSettings  # noqa: E402


def put(store: Store, repo: str, text: str) -> Layer:
    plain = text.encode()
    data = gz.member(plain)
    descriptor = Descriptor(LAYER_TYPE, image.digest_of(data), len(data))
    store.put_blob(repo, descriptor, lambda: io.BytesIO(data))
    return Layer(descriptor, image.digest_of(plain))


def base_of(kit: Services, name: str) -> Base:
    repo = f"kitbag/base/{name}"
    layers = tuple(put(kit.store, repo, f"{name} {number}") for number in range(4))
    digest = image.digest_of(name.encode())
    where, python = kit.store.reference(repo, digest), PythonInfo("3.11.2", "/usr/bin/python3.11")
    base = Base(name, where, digest, Platform(), layers, python, (2, 36))
    with writing(kit.engine) as session:
        bases.add(session, name=name, digest=digest, image=where, record=base.to_json())
    return base


def lock_text(number: int, packages: int) -> str:
    lines = ['lock-version = "1.0"', 'requires-python = ">=3.11"', 'created-by = "kitbag"']
    for each in range(packages):
        name = f"package-{each}"
        sha = hashlib.sha256(f"{name} {number if each == 0 else 0}".encode()).hexdigest()
        file = f"package_{each}-1.0-py3-none-any.whl"
        lines += ["", "[[packages]]", f'name = "{name}"', 'version = "1.0"']
        lines.append(
            f'wheels = [{{ name = "{file}", url = "https://x.example/{file}", '
            f'size = {1000 + each * 50_000}, hashes = {{ sha256 = "{sha}" }} }}]'
        )
    return "\n".join(lines) + "\n"


def publish(kit: Services, base: Base, number: int, packages: int) -> None:
    name = f"bench/env-{number}"
    lock = parse(lock_text(number, packages), "3.11", Platform())
    groups = group(lock.wheels, len(base.layers))
    there = partial(put, kit.store, name)
    layers = [there(f"{item.title} {item.wheels[0].sha256}") for item in groups]
    for layer in base.layers:
        stream = partial(kit.store.blob, "kitbag/base/old", layer.descriptor.digest)
        data = b"".join(stream())
        kit.store.put_blob(
            name, layer.descriptor, partial(io.BytesIO, data), mount_from="kitbag/base/old"
        )
    parts = layers_of(there("skeleton"), groups, layers, there(f"record {number}"))
    made = image.assemble(base, parts, image.labels_of(base, lock, "3.11.2"))
    kit.store.put_blob(name, made.config_descriptor, partial(io.BytesIO, made.config))
    kit.store.put_manifest(name, made.manifest)
    names = [[] for _ in base.layers] + [[]] + [[w.name for w in g.wheels] for g in groups] + [[]]
    facts = versions.VersionFacts(
        image=kit.store.reference(name, made.manifest.digest),
        digest=made.manifest.digest,
        content_key=f"content-{number}",
        python="3.11",
        accelerator="cpu",
        base_name=base.name,
        base_digest=base.digest,
        size_bytes=made.size_bytes,
        platform=str(base.platform),
        lock=lock.text,
        packages=[{"name": w.name, "version": w.version, "size_bytes": 1} for w in lock.wheels],
        layers=[
            {"digest": layer.descriptor.digest, "size_bytes": 1, "packages": held}
            for layer, held in zip(made.layers, names, strict=True)
        ],
    )
    with writing(kit.engine) as session:
        build, _ = builds.request_build(
            session, environment=name, request={}, request_key=f"request-{number}"
        )
        environment = environments.get(session, name)
        versions.add(
            session,
            environment.id,
            facts,
            request={},
            request_key=f"request-{number}",
            build_id=build.id,
            created_by="",
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--environments", type=int, default=1000)
    parser.add_argument("--packages", type=int, default=60)
    parser.add_argument("--store", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/catalog.db"
        migrate(url)
        kit = Services(WorkerSettings(database_url=url, data=Path(folder), store=args.store))
        old, _ = base_of(kit, "old"), base_of(kit, "new")
        for number in range(args.environments):
            publish(kit, old, number, args.packages)
        order = rebasing.Order(old="old", new="new")
        began = time.monotonic()
        done = rebasing.run(kit, order, lambda _: None)["items"]
        took = time.monotonic() - began
        began = time.monotonic()
        left = rebasing.run(kit, order, lambda _: None)["items"]
        again = time.monotonic() - began
        kit.close()
    states = sorted({item["state"] for item in done})
    row = {"environments": len(done), "states": states, "seconds": round(took, 1)}
    row |= {"again": len(left), "again_seconds": round(again, 2), "store": args.store or "layout"}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
