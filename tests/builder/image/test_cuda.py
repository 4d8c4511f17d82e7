"""What a lock says about CUDA, and what an image for it says to the container runtime.

The locks are what uv resolved from PyPI for Python 3.11, as far as they concern CUDA.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from rig.wheels import WheelFactory

from builder import cuda, rebase, stored, verify
from builder.errors import ConfigConflictError
from builder.model import Lock, LockedWheel, Platform
from builder.stores.layout import LayoutStore

TORCH_2_6 = """
nvidia-cublas-cu12==12.4.5.8 nvidia-cuda-cupti-cu12==12.4.127 nvidia-cuda-nvrtc-cu12==12.4.127
nvidia-cuda-runtime-cu12==12.4.127 nvidia-cudnn-cu12==9.1.0.70 nvidia-cufft-cu12==11.2.1.3
nvidia-curand-cu12==10.3.5.147 nvidia-cusolver-cu12==11.6.1.9 nvidia-cusparse-cu12==12.3.1.170
nvidia-cusparselt-cu12==0.6.2 nvidia-nccl-cu12==2.21.5 nvidia-nvjitlink-cu12==12.4.127
nvidia-nvtx-cu12==12.4.127 torch==2.6.0 triton==3.2.0
"""
TORCH_2_15 = """
cuda-bindings==13.5.0 cuda-pathfinder==1.9.0 cuda-toolkit==13.2.2 nvidia-cublas==13.4.1.3
nvidia-cuda-cccl==13.3.5.0.6 nvidia-cuda-nvrtc==13.2.86 nvidia-cuda-runtime==13.2.86
nvidia-cudnn-cu13==9.26.0.51 nvidia-cufft==12.2.0.57 nvidia-cufile==1.17.1.22
nvidia-cusolver==12.2.0.11 nvidia-cusparselt-cu13==0.8.1 nvidia-nccl-cu13==2.30.7
nvidia-nvjitlink==13.5.37 nvidia-nvshmem-cu13==3.7.2 torch==2.15.0 triton==3.9.0
"""
TENSORFLOW_2_18 = """
nvidia-cublas-cu12==12.5.3.2 nvidia-cuda-nvcc-cu12==12.5.82 nvidia-cuda-runtime-cu12==12.5.82
nvidia-cudnn-cu12==9.3.0.75 nvidia-nccl-cu12==2.21.5 tensorflow==2.18.0
"""
JAX_0_10 = """
jax==0.10.2 jax-cuda12-pjrt==0.10.2 jax-cuda12-plugin==0.10.2 jaxlib==0.10.2
nvidia-cublas-cu12==12.9.3.13 nvidia-cuda-runtime-cu12==12.9.79 nvidia-cudnn-cu12==9.28.0.42
nvidia-cufft-cu12==11.4.1.4 nvidia-nccl-cu12==2.32.3 nvidia-nvshmem-cu12==3.8.0
"""
ONNXRUNTIME_1_31 = """
nvidia-cublas==13.10.0.20 nvidia-cuda-runtime==13.5.37 nvidia-cudnn-cu13==9.28.1.4
onnxruntime-gpu==1.31.1
"""


def lock_of_names(text: str) -> Lock:
    pairs = (each.split("==") for each in text.split())
    wheels = tuple(
        LockedWheel(name, version, f"{name}.whl", "", "0" * 64, 1_000) for name, version in pairs
    )
    return Lock("3.11", Platform(), wheels, text)


@pytest.mark.parametrize(
    ("text", "version", "cudnn", "driver"),
    [
        (TORCH_2_6, "12.4", "9.1.0.70", "525.60.13"),
        (TORCH_2_15, "13.2", "9.26.0.51", "580"),
        (TENSORFLOW_2_18, "12.5", "9.3.0.75", "525.60.13"),
        (JAX_0_10, "12.9", "9.28.0.42", "525.60.13"),
        (ONNXRUNTIME_1_31, "13.5", "9.28.1.4", "580"),
        ("torch==2.6.0+cu118 torchvision==0.21.0+cu118", "11.8", None, "450.80.02"),
        ("cupy-cuda12x==14.2.0", "12.0", None, "525.60.13"),
        ("cupy-cuda102==12.3.0", "10.2", None, None),
        ("jaxlib==0.4.25+cuda12.cudnn89", "12.0", None, "525.60.13"),
        ("numpy==2.1.0 nvidia-ml-py==12.560.30 torch==2.6.0+cpu", None, None, None),
    ],
)
def test_a_lock_says_its_cuda_cudnn_and_lowest_driver(
    text: str, version: str | None, cudnn: str | None, driver: str | None
) -> None:
    needs = cuda.of(lock_of_names(text), "cuda")
    assert needs is not None
    assert (needs.version, needs.cudnn, needs.driver) == (version, cudnn, driver)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "torch==2.6.0+cu118" + TENSORFLOW_2_18,
            "tensorflow 2.18.0 (CUDA 12) and torch 2.6.0+cu118 (CUDA 11.8) clash",
        ),
        (
            TORCH_2_15 + TENSORFLOW_2_18,
            "tensorflow 2.18.0 (CUDA 12) and torch 2.15.0 (CUDA 13) clash",
        ),
        (
            "nvidia-cuda-runtime-cu11==11.8.89 nvidia-cuda-runtime-cu12==12.4.127",
            (
                "nvidia-cuda-runtime-cu11 11.8.89 (CUDA 11.8) and "
                "nvidia-cuda-runtime-cu12 12.4.127 (CUDA 12.4) clash"
            ),
        ),
        (
            TORCH_2_15 + "cupy-cuda12x==14.2.0",
            "cupy-cuda12x 14.2.0 (CUDA 12) and torch 2.15.0 (CUDA 13) clash",
        ),
    ],
)
def test_two_majors_of_cuda_are_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(ConfigConflictError, match="one major release of CUDA") as refused:
        cuda.of(lock_of_names(text), "cuda")
    assert refused.value.detail.startswith(named)


@pytest.mark.parametrize(
    "text",
    [
        TORCH_2_15 + "xgboost==3.2.0 nvidia-nccl-cu12==2.32.3",
        TORCH_2_6 + JAX_0_10.replace("nvidia", "other"),
        TORCH_2_15 + "tensorflow==2.18.0",  # without and-cuda: it brings no libraries
    ],
)
def test_packages_that_get_on_are_not_refused(text: str) -> None:
    assert cuda.of(lock_of_names(text), "cuda") is not None


def test_the_cpu_is_asked_nothing_about_cuda_but_the_libraries_have_a_weight() -> None:
    lock = lock_of_names(TORCH_2_6)
    assert cuda.of(lock, "cpu") is None
    assert cuda.weight_bytes(lock) == 13_000


def test_nodes_are_found_by_their_driver() -> None:
    needs = cuda.of(lock_of_names(TORCH_2_6), "cuda")
    assert needs is not None
    rule = {"key": "nvidia.com/cuda.driver.major", "operator": "Gt", "values": ["524"]}
    assert needs.affinity == {"matchExpressions": [rule]}


def test_libraries_are_where_nvidia_puts_them() -> None:
    before = cuda.of(lock_of_names(TORCH_2_6), "cuda")
    after = cuda.of(lock_of_names(ONNXRUNTIME_1_31), "cuda")
    assert before is not None and after is not None
    assert {"nvidia/cuda_runtime/lib", "nvidia/cudnn/lib"} < set(before.folders)
    assert after.folders == ("nvidia/cu13/lib", "nvidia/cudnn/lib")


def test_an_image_for_cuda_says_so_to_the_runtime_and_the_loader_and_one_for_the_cpu_does_not(
    builder: Any, layout: LayoutStore, put_base: Any, lock_of: Any, few_wheels: list[Path]
) -> None:
    base, lock, tools = put_base(layout), lock_of(few_wheels), builder.tools(layout)
    needs = cuda.of(lock_of_names(TORCH_2_6), "cuda")
    with_gpu, _ = builder.build(lock, base, tools, cuda=needs)
    again, _ = builder.build(lock, base, tools, cuda=needs)
    without, _ = builder.build(lock, base, tools)
    assert with_gpu.digest == again.digest != without.digest
    assert with_gpu.layers[:-1] == without.layers[:-1], "they share all but the lock's layer"

    said = _config(layout, with_gpu)
    variables = dict(each.split("=", 1) for each in said["Env"])
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert variables["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert variables["NVIDIA_REQUIRE_CUDA"] == "cuda>=12.4 driver>=525"
    assert "LD_LIBRARY_PATH" not in variables
    assert said["Labels"]["kitbag.dev/cuda"] == "12.4"
    assert said["Labels"]["kitbag.dev/cuda-driver"] == "525.60.13"
    text = _loader(layout, with_gpu)
    assert text is not None
    folder = f"/opt/env/lib/python{base.python.minor}/site-packages/nvidia/cudnn/lib"
    assert folder in text.splitlines()

    assert not any(each.startswith("NVIDIA_") for each in _config(layout, without)["Env"])
    assert "kitbag.dev/cuda" not in _config(layout, without)["Labels"]
    assert _loader(layout, without) is None


def test_an_image_for_cuda_goes_to_another_base_and_verifies_as_one_for_cuda(
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    wheel_factory: WheelFactory,
    tmp_path: Path,
) -> None:
    library = wheel_factory.wheel("nvidia-cuda-runtime-cu12", "12.4.127")
    lock, tools = lock_of([library]), builder.tools(layout)
    old, new = put_base(layout), put_base(layout, "bases/newer", layers=2)
    image, _ = builder.build(lock, old, tools, cuda=cuda.of(lock, "cuda"))
    found = stored.read(layout, "ns/env", image.digest)
    moved = rebase.rebase(found, lock, old, new, "ns/env", layout)
    assert "NVIDIA_REQUIRE_CUDA=cuda>=12.4 driver>=525" in _config(layout, moved)["Env"]
    there = stored.read(layout, "ns/env", moved.digest)
    verdict = verify.verify(there, lock, new, "ns/env", tools, tmp_path / "scratch")
    assert verdict == verify.Verdict(True, moved.digest, moved.digest, ())


def _config(store: LayoutStore, image: Any) -> dict[str, Any]:
    manifest = store.manifest("ns/env", image.digest)
    assert manifest is not None
    digest = json.loads(manifest.data)["config"]["digest"]
    found: dict[str, Any] = json.loads(b"".join(store.blob("ns/env", digest)))["config"]
    return found


def _loader(store: LayoutStore, image: Any) -> str | None:
    """The text of the loader's file in the image's last layer."""
    blob = b"".join(store.blob("ns/env", image.layers[-1].descriptor.digest))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as archive:
        name = "etc/ld.so.conf.d/kitbag-cuda.conf"
        if name not in archive.getnames():
            return None
        file = archive.extractfile(name)
        assert file is not None
        return file.read().decode()
