"""The settings of the workers and of whoever enqueues for them, from KITBAG_… variables."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_PREFIX = "KITBAG_"


def _listed(value: object) -> object:
    """A list as people write it into a variable: `a, b`, or JSON."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [item for item in re.split(r"[,\s]+", value) if item]
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError("it begins like a JSON list and is none; commas do as well") from error


class ActsAs(StrEnum):
    """In whose name rollouts change the objects of a cluster."""

    SERVICE_ACCOUNT = "service-account"
    """That of the environment's namespace."""
    USER = "user"
    """Whoever registered the rollout."""


class QueueSettings(BaseSettings):
    """Where the queue is; what the API needs of the workers' settings."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    broker_url: str = Field("redis://127.0.0.1:6379/0", description="Redis or Valkey.")
    sweep_s: float = Field(5, gt=0, description="How often builds that nobody works on are sought.")


class WorkerSettings(QueueSettings):
    """What a worker works with, and its limits."""

    database_url: str = Field(description="sqlite:///PATH or postgresql://…")
    data: Path = Field(description="The folder of uploads, shared with the API.")
    cache: Path | None = Field(None, description="Scratch of this machine; DATA/cache unless set.")
    store: str = Field("", description="registry://HOST/PREFIX or oci:PATH; DATA/layout if empty.")
    public_url: str = Field("", description="This service's address, for links to its pages.")
    public_host: str = Field("", description="The host that a layout's images are pulled from.")
    base_image: str = Field(
        "docker.io/library/python:{python}-slim", description="What the base `auto` is made from."
    )

    index_url: str | None = Field(None, description="The package index; uv's default unless set.")
    extra_index_urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        (), description="More indexes, tried before it."
    )
    index_strategy: Literal["first-index", "unsafe-first-match", "unsafe-best-match"] = Field(
        "first-index", description="uv's --index-strategy."
    )
    torch_cpu_index: str | None = Field(
        None, description="Where torch for CPUs is, such as https://download.pytorch.org/whl/cpu."
    )
    secrets: Path | None = Field(None, description="A folder of credentials for package indexes.")
    mirrors: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        (), description="FROM=TO: where files whose URL begins with FROM are fetched instead."
    )
    ca_bundle: Path | None = Field(None, description="A PEM file that replaces the system's CAs.")
    binder_packages: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        ("jupyterlab",), description="What images of the binder way get beside what is asked for."
    )
    binder_base: str = Field(
        "docker.io/library/buildpack-deps:noble",
        description="What conda, R, Julia and Nix are built on unless a base is named.",
    )
    dockerfile_registries: Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_listed)] = (
        Field(None, description="Where images of a repository's Dockerfile may be from.")
    )
    apt_sources: Path | None = Field(None, description="A sources.list for apt.txt.")
    bytecode: bool = Field(True, description="Compile modules into the layers.")
    layer_compression: Literal["gzip", "zstd"] = Field(
        "gzip", description="How layers are packed, unless a request says otherwise."
    )

    engine: Literal["docker", "buildkit", "podman", "none"] = Field(
        "none", description="The kind of container engine, if any."
    )
    engine_address: str = Field("", description="unix:///PATH or tcp://HOST:PORT.")
    engine_certs: Path | None = Field(None, description="ca.pem, cert.pem and key.pem, for TLS.")
    engine_builder: Literal["auto", "buildkit", "classic"] = Field(
        "auto", description="What a Docker Engine builds with."
    )
    engine_network: str = Field(
        "default", pattern=r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", description="What steps are on."
    )
    engine_cpus: float | None = Field(None, gt=0, description="Cores for one build.")
    engine_memory_bytes: int | None = Field(None, ge=16 << 20, description="Memory for one build.")
    engine_disk_bytes: int | None = Field(
        None, ge=16 << 20, description="Disk for one build, its image included."
    )
    engine_processes: int = Field(
        8192, ge=64, description="Processes and threads of one build's user."
    )
    engine_cache: str | None = Field(
        None,
        pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$",
        description="Where below the registry the engine's cache is, a repository an environment.",
    )

    @field_validator("engine_cpus", "engine_memory_bytes")
    @classmethod
    def _held(cls, value: float | None, info: ValidationInfo) -> float | None:
        """BuildKit has limits for all of its steps together only, which are its operator's."""
        kind, builder = info.data.get("engine"), info.data.get("engine_builder")
        if value is not None and (kind == "buildkit" or (kind, builder) == ("docker", "buildkit")):
            raise ValueError(
                "BuildKit holds no single build to it: limit its daemon instead, and leave this out"
            )
        return value

    @field_validator("engine_cache")
    @classmethod
    def _in_a_registry(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.data.get("engine") == "podman":
            raise ValueError("podman keeps no cache in a registry: leave it out")
        if not info.data.get("store", "").startswith(("registry://", "https://", "http://")):
            raise ValueError("the cache is kept in a registry, and KITBAG_STORE names none")
        return value

    local: bool = Field(False, description="Only its own user reaches this server: no host rules.")
    allowed_hosts: Annotated[frozenset[str], NoDecode, BeforeValidator(_listed)] = Field(
        frozenset(), description="Private hosts and networks that sources may name."
    )
    git_protocols: Annotated[
        frozenset[Literal["https", "ssh", "http", "git", "file"]],
        NoDecode,
        BeforeValidator(_listed),
    ] = Field(frozenset({"https", "ssh"}), description="What git URLs may use.")

    cluster: str = Field("", description="in-cluster or a kubeconfig's path; none: no rollouts.")
    spawner: str = Field(
        "",
        pattern=r"^([a-z0-9-]{1,63}/[a-z0-9.-]{1,253})?$",
        description="NAMESPACE/NAME of the Deployment of Kubeflow's Jupyter web app, if any.",
    )
    workspace_kind: str = Field(
        "",
        pattern=r"^([a-z0-9][-a-z0-9]*[a-z0-9])?$",
        max_length=63,
        description="The WorkspaceKind of Notebooks v2 whose images workers keep, if any.",
    )
    notebook_account: str = Field(
        "",
        description="The service account of notebooks that are launched, such as default-editor.",
    )
    notebook_url: str = Field("", description="How notebooks reach the API; PUBLIC_URL unless set.")
    kinds: Path | None = Field(None, description="More kinds for rollouts (docs/pin.md).")
    cluster_acts_as: ActsAs = ActsAs.SERVICE_ACCOUNT
    cluster_account: str = Field("kitbag", description="The service account of each namespace.")
    git_author: str = Field(
        "Kitbag <kitbag@localhost>",
        pattern=r"^[^<>\x00-\x1f\x7f]{1,100} <[^<>\x00-\x20\x7f]{1,200}>$",
        description="Of commits to git repositories, unless their secret names one.",
    )
    rollout_retry_s: float = Field(15, gt=0, description="The first wait; it doubles up to 10 min.")

    cluster_target: str = Field("", description="The target that this cluster is; see there.")
    mirror_retry_s: float = Field(5, gt=0, description="The first wait; it doubles up to 10 min.")

    source_max_bytes: int = Field(1 << 30, gt=0, description="What a source may hold.")
    build_timeout_s: float = Field(3600, gt=0)
    heartbeat_s: float = Field(2, gt=0)
    lease_s: float = Field(20, gt=0, description="A worker that is silent for longer is dead.")
    max_attempts: int = Field(3, gt=0)
    cache_max_bytes: int = Field(50 << 30, gt=0)

    @field_validator("mirrors")
    @classmethod
    def _pairs_of_urls(cls, mirrors: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"https?://[^=]+/=https?://.+/", each) for each in mirrors):
            raise ValueError("give pairs of URLs that end with a slash: FROM=TO")
        return mirrors

    @field_validator("lease_s")
    @classmethod
    def _outlives_a_heartbeat(cls, lease_s: float, info: ValidationInfo) -> float:
        """A lease shorter than the beat would take every worker for dead."""
        if lease_s < 2 * info.data.get("heartbeat_s", 0):
            raise ValueError("it must be twice KITBAG_HEARTBEAT_S or more")
        return lease_s

    @property
    def mirror_pairs(self) -> tuple[tuple[str, str], ...]:
        """The beginnings of URLs, and what stands for them."""
        pairs = (each.partition("=") for each in self.mirrors)
        return tuple((before, after) for before, _, after in pairs)

    @property
    def cache_root(self) -> Path:
        return self.cache or self.data / "cache"

    @property
    def store_url(self) -> str:
        return self.store or f"oci:{self.data / 'layout'}"


def complaint(error: ValidationError) -> str:
    """What is wrong with the settings, as one sentence without their values."""
    first = error.errors()[0]
    variable = _PREFIX + str(first["loc"][0]).upper() if first["loc"] else "The settings"
    if first["type"] == "missing":
        return f"{variable} is not set; docs/operate.md says to what."
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{variable} can't be used ({reason[:1].lower()}{reason[1:]}); see docs/operate.md."
