"""The settings of the API, from KITBAG_… environment variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from api.admission.schemas import Wait
from api.auth.settings import IdentitySettings, Listed
from api.launcher.template import checked
from worker.quotas import Quotas

_MIB = 1024 * 1024
_KEY = re.compile(r"[a-z0-9]{16,63}")


class ApiSettings(IdentitySettings):
    """Where things are, who may use them, and the limits of what comes in."""

    database_url: str = Field(description="sqlite:///PATH or postgresql://…")
    data: Path = Field(description="The folder of uploads, shared with the workers.")
    layout: Path | None = Field(None, description="The OCI image layout that /v2 serves, if any.")

    kinds: Path | None = Field(None, description="More kinds for pins (docs/pin.md).")
    cluster: str = Field("", description="Whether workers have a cluster for rollouts; see there.")
    spawner: str = Field("", description="Whose image list workers keep; see there.")
    workspace_kind: str = Field("", description="Whose image options workers keep; see there.")
    cluster_acts_as: Literal["service-account", "user"] = Field(
        "service-account", description="In whose name rollouts are done."
    )

    max_json_bytes: int = Field(_MIB, gt=0)
    max_archive_bytes: int = Field(64 * _MIB, gt=0)
    max_unpacked_bytes: int = Field(1024 * _MIB, gt=0)
    max_files: int = Field(10_000, gt=0)
    max_text_bytes: int = Field(_MIB, gt=0)
    pull_days: float = Field(
        14, gt=0, description="How long a pull request's environment lasts after its last push."
    )
    max_hook_bytes: int = Field(25 * _MIB, gt=0, description="GitHub's own limit.")
    body_timeout_s: float = Field(60.0, gt=0)

    launch_url: str | None = Field(
        None, description="Where notebooks start, with placeholders (docs/launchers.md)."
    )

    quotas: Path | None = Field(None, description="What each may use (docs/quotas.md).")

    kubeflow_url: str = Field(
        "", pattern=r"^(https?://[^\s/@]+/?)?$", description="Where Kubeflow serves notebooks."
    )

    rate_limit: float = Field(100, ge=0, description="Requests a second of each caller; 0: all.")
    rate_burst: int = Field(2000, ge=1, le=10**9, description="Requests at once of each caller.")
    rate_limit_unknown: float = Field(
        10, ge=0, description="Requests a second of an address that shows nobody; 0: all."
    )
    rate_burst_unknown: int = Field(200, ge=1, le=10**9, description="Such requests at once.")

    plan_timeout_s: float = Field(60.0, gt=0)
    max_plans: int = Field(8, gt=0, description="Plans that are waited for at the same time.")
    event_poll_s: float = Field(0.1, gt=0)
    event_heartbeat_s: float = Field(15.0, gt=0)
    max_followers: int = Field(2000, gt=0)

    admission_key: SecretStr | None = Field(None, description="What an API server must show.")
    admission_allow: Listed = Field(
        (), description="[KUBERNETES_NAMESPACE=]NAMESPACE/NAME patterns of environments."
    )
    admission_images: Listed = Field(
        (), description="Patterns of images that may run without having been built here."
    )
    admission_exempt: Listed = Field(
        ("kube-system", "kube-public", "kube-node-lease"),
        description="Namespaces of the cluster that are never touched.",
    )
    admission_wait: Wait = Field(Wait.NEVER, description="Which builds objects wait for.")
    cluster_target: str = Field(
        "", pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$", description="Which target asks."
    )
    admission_fresh_s: float = Field(1.0, ge=0, description="How long `latest` is believed.")
    max_review_bytes: int = Field(8 * _MIB, gt=0)

    @field_validator("quotas")
    @classmethod
    def _can_be_read(cls, quotas: Path | None) -> Path | None:
        try:
            if quotas is not None:
                Quotas.read(quotas)
        except OSError as error:
            raise ValueError(f"{quotas} can't be read ({error.strerror})") from error
        return quotas

    @field_validator("launch_url")
    @classmethod
    def _leads_there_only(cls, template: str | None) -> str | None:
        return checked(template) if template else None

    @field_validator("admission_key")
    @classmethod
    def _fits_a_path(cls, key: SecretStr | None) -> SecretStr | None:
        """The API server takes only such a path (validated like a DNS subdomain)."""
        text = key.get_secret_value() if key else ""
        if text and not _KEY.fullmatch(text):
            raise ValueError("give 16 to 63 lower-case letters and digits")
        return key if text else None

    @property
    def keeps_a_list(self) -> bool:
        """Whether workers keep a list that users choose images from."""
        return bool(self.cluster and (self.spawner or self.workspace_kind))

    @property
    def max_upload_bytes(self) -> int:
        """A multipart body: the archive, the request and the boundaries between."""
        return self.max_archive_bytes + self.max_json_bytes + 64 * 1024
