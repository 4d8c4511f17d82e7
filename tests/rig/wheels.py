"""Small real wheels and sdists, and an index that serves them (PEP 503, 658, 691)."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rig.certificate import Certificate
from rig.http import QuietHandler, serve

Content = str | bytes
_JSON = "application/vnd.pypi.simple.v1+json"
_DATE = (2026, 1, 1, 0, 0, 0)


class WheelFactory:
    """Makes distributions into a folder; whatever lies in that folder is in the index."""

    def __init__(self, folder: Path, port: int, scheme: str = "http") -> None:
        self.folder = folder
        self.port = port
        self.index_url = f"{scheme}://127.0.0.1:{port}/simple/"
        self.uploaded: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.authorizations: list[tuple[str, str | None]] = []
        self.lies: dict[str, str] = {}
        self.requests: list[str] = []

    def wheel(
        self,
        name: str,
        version: str = "1.0",
        files: Mapping[str, Content] | None = None,
        *,
        requires: Sequence[str] = (),
        requires_python: str | None = None,
        extras: Collection[str] = (),
        scripts: Mapping[str, str] | None = None,
        gui_scripts: Mapping[str, str] | None = None,
        data: Mapping[str, Content] | None = None,
        executable: Collection[str] = (),
        stored: Collection[str] = (),
        streamed: Collection[str] = (),
        raw: Mapping[str, Content] | None = None,
        tag: str = "py3-none-any",
        purelib: bool = True,
        metadata: str = "",
        record: bool = True,
    ) -> Path:
        """Write a wheel and return its path.

        `files` go to site-packages (by default a package `NAME/__init__.py` with `__version__`);
        `scripts` and `gui_scripts` map a command to "module:function"; `data` maps
        "SCHEME/PATH" (as "scripts/run", "data/share/x", "headers/x.h", "purelib/x.py") to content.
        `executable` names entries with mode 0755, `stored` entries that aren't compressed,
        `streamed` entries with a data descriptor after them. `raw` entries are added as they are,
        unchecked and not in RECORD, whatever their name says: a way to write a hostile wheel.
        `record=False` leaves RECORD out.
        """
        module = _normal(name).replace("-", "_")
        stem = f"{module}-{version}"
        info = f"{stem}.dist-info"
        entries: dict[str, Content] = dict(
            files
            if files is not None
            else {f"{module}/__init__.py": f'__version__ = "{version}"\n'}
        )
        entries |= {f"{stem}.data/{path}": content for path, content in (data or {}).items()}
        points = _entry_points(scripts or {}, gui_scripts or {})
        if points:
            entries[f"{info}/entry_points.txt"] = points
        entries[f"{info}/METADATA"] = _metadata(
            name, version, requires, requires_python, extras, metadata
        )
        entries[f"{info}/WHEEL"] = (
            f"Wheel-Version: 1.0\nGenerator: kitbag-rig\nRoot-Is-Purelib: {str(purelib).lower()}\n"
            + "".join(f"Tag: {each}\n" for each in _tags(tag))
        )
        if record:
            entries[f"{info}/RECORD"] = _record(entries, f"{info}/RECORD")
        path = self.folder / f"{stem}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for entry, content in [*entries.items(), *(raw or {}).items()]:
                how = zipfile.ZIP_STORED if entry in stored else zipfile.ZIP_DEFLATED
                mode = 0o755 if entry in executable else 0o644
                _write(archive, entry, _bytes(content), how, mode, entry in streamed)
        return path

    def sdist(
        self,
        name: str,
        version: str = "1.0",
        files: Mapping[str, Content] | None = None,
        *,
        requires: Sequence[str] = (),
    ) -> Path:
        """Write a source distribution, for a package that has no wheel; returns its path."""
        stem = f"{_normal(name).replace('-', '_')}-{version}"
        entries: dict[str, Content] = {
            "PKG-INFO": _metadata(name, version, requires, None, (), ""),
            "pyproject.toml": f'[project]\nname = "{name}"\nversion = "{version}"\n',
            **(files or {}),
        }
        path = self.folder / f"{stem}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for entry, content in entries.items():
                member = tarfile.TarInfo(f"{stem}/{entry}")
                member.size = len(_bytes(content))
                archive.addfile(member, io.BytesIO(_bytes(content)))
        return path

    def lie_about(self, path: Path) -> None:
        """Let the index, and so every lock, promise another sha256 for this file than its own."""
        self.lies[path.name] = hashlib.sha256(b"another file").hexdigest()

    def sha256(self, path: Path) -> str:
        """What the index says that this file's sha256 is."""
        return self.lies.get(path.name) or hashlib.sha256(path.read_bytes()).hexdigest()

    def requirement(self, path: Path) -> str:
        """The line of a lock for this file: "name==version --hash=sha256:…"."""
        name, version = path.name.removesuffix(".tar.gz").split("-")[:2]
        return f"{_normal(name)}=={version} --hash=sha256:{self.sha256(path)}"

    def projects(self) -> dict[str, list[Path]]:
        """Normalized project name -> its files."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.iterdir()):
            found.setdefault(_normal(path.name.split("-")[0]), []).append(path)
        return found


@contextmanager
def wheel_factory(
    folder: Path, *, certificate: Certificate | None = None, login: tuple[str, str] | None = None
) -> Iterator[WheelFactory]:
    """Serve `folder`, which must be empty or hold distributions only, as an index.

    Over TLS with a certificate; with a login (user, password) to whoever shows it (RFC 7617).
    `redirects` of the factory maps paths to where they are sent instead, `authorizations` is what
    each request showed, `uploaded` the times that the index tells of files.
    """
    wanted = None
    if login is not None:
        wanted = "Basic " + base64.b64encode(":".join(login).encode()).decode()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            factory.requests.append(path)
            shown = self.headers.get("Authorization")
            factory.authorizations.append((path, shown))
            if wanted is not None and shown != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if path in factory.redirects:
                self.send_response(302)
                self.send_header("Location", factory.redirects[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            as_json = _JSON in self.headers.get("Accept", "")
            page = _page(factory, path, as_json=as_json)
            if page is not None:
                self._answer(page.encode(), _JSON if as_json else "text/html")
            elif path.startswith("/files/") and (content := _file(factory, path[7:])) is not None:
                self._answer(content, "application/octet-stream")
            else:
                self.send_error(404)

        def _answer(self, body: bytes, content_type: str) -> None:
            # uv reads a wheel's metadata by ranges only when there is no .metadata file beside it.
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    with serve(Handler, certificate) as port:
        factory = WheelFactory(folder, port, "https" if certificate else "http")
        yield factory


def _page(factory: WheelFactory, path: str, *, as_json: bool) -> str | None:
    projects = factory.projects()
    if path == "/simple/":
        if as_json:
            names = [{"name": name} for name in projects]
            return json.dumps({"meta": {"api-version": "1.0"}, "projects": names})
        return "".join(f'<a href="/simple/{name}/">{name}</a>\n' for name in projects)
    name = path.removeprefix("/simple/").strip("/")
    if not path.startswith("/simple/") or name not in projects:
        return None
    files = [_file_entry(factory, file) for file in projects[name]]
    if as_json:
        return json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": files})
    return "".join(_anchor(file) for file in files)


def _file_entry(factory: WheelFactory, path: Path) -> dict[str, object]:
    entry: dict[str, object] = {
        "filename": path.name,
        "url": f"/files/{path.name}",
        "hashes": {"sha256": factory.sha256(path)},
        "size": path.stat().st_size,
        "upload-time": factory.uploaded.get(path.name, "2026-01-01T00:00:00Z"),
    }
    metadata = _file(factory, f"{path.name}.metadata")
    if metadata is not None:
        entry["core-metadata"] = {"sha256": hashlib.sha256(metadata).hexdigest()}
        wanted = re.search(rb"^Requires-Python: (.+)$", metadata, re.MULTILINE)
        if wanted:
            entry["requires-python"] = wanted[1].decode()
    return entry


def _anchor(file: Mapping[str, object]) -> str:
    hashes = file["hashes"]
    assert isinstance(hashes, dict)
    attributes = f'href="{file["url"]}#sha256={hashes["sha256"]}"'
    if "core-metadata" in file:
        attributes += ' data-core-metadata="true"'
    if "requires-python" in file:
        attributes += f' data-requires-python="{escape(str(file["requires-python"]))}"'
    return f"<a {attributes}>{file['filename']}</a><br/>\n"


def _file(factory: WheelFactory, name: str) -> bytes | None:
    path = factory.folder / name
    if "/" in name:
        return None
    if path.is_file():
        return path.read_bytes()
    wheel = factory.folder / name.removesuffix(".metadata")
    if wheel.suffix != ".whl" or not wheel.is_file():
        return None
    with zipfile.ZipFile(wheel) as archive:
        found = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return archive.read(found[0]) if found else None


def _write(
    archive: zipfile.ZipFile, name: str, content: bytes, how: int, mode: int, streamed: bool
) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = how
    entry.external_attr = (0o100000 | mode) << 16
    if not streamed:
        archive.writestr(entry, content)
        return
    # What `zip -` or a CI that writes to a pipe makes: sizes and CRC come after the bytes.
    entry.flag_bits |= 0x08
    with archive.open(entry, "w") as target:
        target.write(content)


def _metadata(
    name: str,
    version: str,
    requires: Sequence[str],
    requires_python: str | None,
    extras: Collection[str],
    more: str,
) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return "\n".join(lines) + "\n" + more


def _entry_points(scripts: Mapping[str, str], gui_scripts: Mapping[str, str]) -> str:
    text = ""
    for group, points in (("console_scripts", scripts), ("gui_scripts", gui_scripts)):
        if points:
            text += f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) + "\n"
    return text


def _record(entries: Mapping[str, Content], record: str) -> str:
    lines = []
    for name, content in entries.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(_bytes(content)).digest())
        lines.append(f"{name},sha256={digest.rstrip(b'=').decode()},{len(_bytes(content))}")
    return "\n".join([*lines, f"{record},,"]) + "\n"


def _tags(tag: str) -> list[str]:
    pythons, abis, platforms = (part.split(".") for part in tag.split("-"))
    return [f"{p}-{a}-{q}" for p in pythons for a in abis for q in platforms]


def _bytes(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
