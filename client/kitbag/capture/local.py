"""A package that was installed from a folder, as a wheel."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

from kitbag.capture.installed import Installed, Origin
from kitbag.errors import PackError

_PURE = "py3-none-any"
_BUILD_S = 300
# What an installer writes into .dist-info, beside what the wheel had there.
_INSTALLERS_OWN = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def wheel(package: Installed, folder: Path) -> Path:
    """A wheel of a pure-Python package, written into a folder.

    An editable install is built by its own project's rules (`pip wheel`), any other is put together
    from its installed files. PackError says what can't be packed, and why.
    """
    tags, pure = _tags(package)
    if not pure or any(not tag.endswith("-none-any") for tag in tags):
        raise PackError(
            f"{package.name} {package.version} from {package.url} is compiled for this machine"
        )
    if package.origin is Origin.EDITABLE:
        return _built(package, folder)
    return _repacked(package, folder)


def _tags(package: Installed) -> tuple[tuple[str, ...], bool]:
    try:
        lines = (package.info / "WHEEL").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return (), False
    fields = [
        (key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)
    ]
    tags = tuple(value for key, value in fields if key == "Tag")
    return tags, ("Root-Is-Purelib", "true") in fields


def _built(package: Installed, folder: Path) -> Path:
    before = set(folder.glob("*.whl"))
    command = (
        sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--wheel-dir", str(folder), str(package.url),
    )  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_BUILD_S)
    except subprocess.TimeoutExpired as error:
        raise PackError(f"{package.name} in {package.url} is not built in {_BUILD_S} s") from error
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or b""
        lines = said.decode(errors="replace").strip().splitlines() or [str(error)]
        raise PackError(f"{package.name} in {package.url} can't be built: {lines[-1]}") from error
    made = set(folder.glob("*.whl")) - before
    if len(made) != 1 or not next(iter(made)).name.endswith("-none-any.whl"):
        raise PackError(f"{package.name} in {package.url} is compiled for this machine")
    return next(iter(made))


def _repacked(package: Installed, folder: Path) -> Path:
    """The installed files as they came, scripts left to the installer's own making."""
    site = package.info.parent
    stem = package.info.name.removesuffix(".dist-info")
    path = folder / f"{stem}-{_PURE}.whl"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _files(package):
            data = _data(package, site / name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.writerow((name, f"sha256={digest}", len(data)))
            archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), data, zipfile.ZIP_DEFLATED)
        name = f"{package.info.name}/RECORD"
        rows.writerow((name, "", ""))
        archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), record.getvalue())
    return path


def _files(package: Installed) -> list[str]:
    """The names in RECORD that the wheel had; PackError for files outside of site-packages."""
    try:
        text = (package.info / "RECORD").read_text()
    except OSError as error:
        raise PackError(f"{package.name} has no list of its files: {error.strerror}") from error
    names = []
    for row in csv.reader(io.StringIO(text)):
        path = PurePosixPath(row[0]) if row else PurePosixPath()
        own = path.parent.name == package.info.name and path.name in _INSTALLERS_OWN
        if not row or own or path.suffix == ".pyc":
            continue
        if ".." in path.parts or path.is_absolute():
            if path.parent.name in ("bin", "Scripts"):
                continue  # made anew from entry_points.txt
            raise PackError(f"{package.name} has files outside of its folder, such as {row[0]}")
        names.append(str(path))
    return sorted(names)


def _data(package: Installed, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PackError(f"{package.name}: {path} can't be read: {error.strerror}") from error
