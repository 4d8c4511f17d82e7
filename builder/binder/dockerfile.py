"""The Dockerfiles that the engine builds for our own buildpack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.binder.repository import LEFT_PATH

CA_PATH = "/etc/ssl/certs/ca-certificates.crt"
_CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_FROM = "ARG BASE\nFROM ${BASE}\n"
_APT = "apt-get --quiet --option=Dpkg::Use-Pty=0 --option=APT::Sandbox::User=root"


@dataclass(frozen=True, slots=True)
class Site:
    """What the operator's network needs in a container while code runs there; none of it stays.

    `ca_bundle` replaces the system's certificates, `apt_sources` is a sources.list, `pip_conf` the
    text of pip's configuration, which names indexes and holds no credentials.
    """

    ca_bundle: Path | None = None
    apt_sources: Path | None = None
    pip_conf: str = ""

    def apt_files(self) -> dict[str, Path]:
        """Secrets of the engine that an apt step mounts."""
        found = {"ca": self.ca_bundle, "sources": self.apt_sources}
        return {name: path for name, path in found.items() if path is not None}

    def user_files(self, folder: Path) -> dict[str, Path]:
        """Secrets of the engine that a step of the user's code mounts; written to `folder`."""
        found = {"ca": self.ca_bundle} if self.ca_bundle is not None else {}
        if self.pip_conf:
            path = folder / "pip.conf"
            path.write_text(self.pip_conf)
            found["pip"] = path
        return found


def apt(packages: Sequence[str], site: Site) -> str:
    """A Dockerfile that installs Debian packages; their names have been checked."""
    mounts = _mounts(site.apt_files())
    # The operator's list replaces whatever else the base has, in either place.
    alone = " --option=Dir::Etc::SourceParts=/nonexistent" if site.apt_sources else ""
    install = "install --yes --no-install-recommends --"
    commands = (
        f"{_APT}{alone} update",
        f"DEBIAN_FRONTEND=noninteractive {_APT}{alone} {install} {' '.join(packages)}",
        "apt-get clean",
        "rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log",
    )
    return f"{_FROM}USER 0:0\nRUN {mounts}{_exports(site)}{' && '.join(commands)}\n"


def finish(
    site: Site,
    *,
    install: Sequence[str] = (),
    post_build: str | None = None,
    processes: int | None = None,
) -> str:
    """A Dockerfile that installs what has to be built, then runs the postBuild, as the user.

    `install` are `.` and `-r`; `post_build` is a name below the repository's folder. `processes` is
    how many the user may have, which these steps see to themselves: not every engine does.
    """
    lines = [_FROM.rstrip()]
    mounts = _mounts({"ca": site.ca_bundle, "pip": site.pip_conf or None})
    exports = _limited(processes) + _exports(site)
    if install:
        pip = "python -m pip --no-input --no-cache-dir --disable-pip-version-check"
        what = [f"-r {LEFT_PATH}"] if "-r" in install else []
        what += ["."] if "." in install else []
        lines.append(f"RUN {mounts}{exports}{pip} install {' '.join(what)}")
    if post_build:
        lines.append(f"RUN {mounts}{exports}{_quoted(f'./{post_build}')}")
    return "\n".join(lines) + "\n"


def _mounts(files: Mapping[str, object]) -> str:
    """`RUN` options for the engine's secrets, readable for whoever runs the step."""
    targets = {"ca": CA_PATH, "sources": "/etc/apt/sources.list", "pip": "/etc/pip.conf"}
    return "".join(
        f"--mount=type=secret,id={name},target={targets[name]},mode=0444,required=true "
        for name, there in sorted(files.items())
        if there
    )


def _exports(site: Site) -> str:
    """The variables that make usual clients trust the operator's authorities."""
    if site.ca_bundle is None:
        return ""
    names = " ".join(f"{name}={CA_PATH}" for name in _CA_VARIABLES)
    return f"export {names} && "


def _limited(processes: int | None) -> str:
    """What lowers the shell's own limit, which its children can't raise: -u in bash, -p in dash."""
    if processes is None:
        return ""
    return f"{{ ulimit -u {processes} || ulimit -p {processes}; }} 2>/dev/null; "


def _quoted(path: str) -> str:
    """A path as a word of the shell, in a Dockerfile's line; `${…}` would be the builder's."""
    return "'" + path.replace("'", "'\"'\"'") + "'"
