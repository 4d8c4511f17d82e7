from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from api.builds import uploads
from api.problems import ProblemError


def packed(*members, zipped=True, form=tarfile.PAX_FORMAT):
    """An archive; members are (name, bytes) or TarInfo."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return gzip.compress(plain.getvalue(), 1) if zipped else plain.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def send(site, archive, path="/v1/builds", **asked):
    return site.http.post(
        path,
        data={"request": json.dumps({"environment": "alice/gan"} | asked)},
        files={"archive": ("source.tar.gz", archive, "application/gzip")},
    )


def kept(site):
    return [path.name for path in uploads.folder(site.settings).iterdir()]


@pytest.mark.parametrize("zipped", [True, False])
def test_an_uploaded_folder_is_on_disk_under_its_hash_before_the_build_is_there(site, zipped):
    archive = packed(("requirements.txt", b"numpy\n"), ("src/a.py", b""), zipped=zipped)

    response = send(site, archive)

    build = response.json()
    sha256 = hashlib.sha256(archive).hexdigest()
    assert response.status_code == 202
    assert build["request"]["source"] == {"upload": sha256}
    folder = uploads.folder(site.settings)
    assert (folder / sha256).read_bytes() == archive
    assert kept(site) == [sha256]
    assert send(site, archive).json()["id"] == build["id"]


def test_an_upload_has_links_folders_and_long_names(site):
    folder = special("src", tarfile.DIRTYPE)
    link = special("src/link", tarfile.SYMTYPE, "../requirements.txt")
    long = ("/".join(["d" * 200] * 3) + "/ü.txt", b"x")
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        archive = packed(("requirements.txt", b"x"), folder, link, long, form=form)
        assert send(site, archive).status_code == 202


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (("../x", b""), "'../x'"),
        (("/etc/passwd", b""), "'/etc/passwd'"),
        (("a/../../b", b""), "does not stay"),
        (("a\nb", b""), "control"),
        (special("pipe", tarfile.FIFOTYPE), "'pipe'"),
        (special("disk", tarfile.BLKTYPE), "'disk'"),
    ],
)
def test_an_entry_that_could_do_harm_is_named_and_nothing_is_kept(site, problem, member, says):
    told = problem(send(site, packed(("a.txt", b"x"), member)), 422, "invalid-request")
    assert says in told["detail"]
    assert told["file"]
    assert kept(site) == []
    assert site.workers.told == []


def test_what_is_no_archive_is_refused(site, problem):
    whole = packed(("a.txt", b"x" * 100_000))
    for data in (b"", b"PK\x03\x04", os.urandom(5000), whole[:-20], whole[:60], gzip.compress(b"")):
        problem(send(site, data), 422, "invalid-request")
    told = problem(send(site, packed(special("empty", tarfile.DIRTYPE))), 422, "invalid-request")
    assert "no file" in told["detail"]


def test_an_archive_over_a_limit_is_refused(make_site, problem, tmp_path):
    site = make_site(max_archive_bytes=20_000, max_unpacked_bytes=100_000, max_files=5)
    told = problem(send(site, os.urandom(30_000)), 413, "too-large")
    assert "19.53 KiB" in told["detail"]
    bomb = packed(("zeros", bytes(10_000_000)))
    assert len(bomb) < 60_000
    small = packed(*[("zeros", bytes(200_000))])
    assert "unpacks" in problem(send(site, small), 413, "too-large")["detail"]
    many = packed(*[(f"{number}.txt", b"") for number in range(6)])
    assert "5 files" in problem(send(site, many), 413, "too-large")["detail"]
    assert kept(site) == []


def test_a_header_that_claims_a_gigabyte_is_refused_before_it_is_read(site):
    info = special("x", tarfile.XHDTYPE)
    info.size = 1 << 30
    with pytest.raises(ProblemError, match="oversized header"):
        uploads.keep(site.settings, io.BytesIO(info.tobuf() + bytes(1024)))


def test_a_form_needs_its_two_parts_and_no_other_source(site, problem):
    archive = packed(("a.txt", b"x"))
    both = send(site, archive, source={"files": {"a": "b"}})
    assert "source" in problem(both, 422, "invalid-request")["detail"]
    lone = site.http.post("/v1/builds", files={"archive": ("a.tar", archive)})
    assert "request" in problem(lone, 422, "invalid-request")["detail"]
    text = site.http.post("/v1/builds", data={"request": "{}", "archive": "x"})
    assert text.status_code in (415, 422)
    bad = site.http.post(
        "/v1/builds",
        content=b"--x\r\nrubbish",
        headers={"Content-Type": "multipart/form-data; boundary=y"},
    )
    assert bad.status_code in (400, 422)
    assert bad.json()["type"].endswith("invalid-request")
    many = [("archive", ("a", archive)), ("archive", ("b", archive))]
    problem(
        site.http.post("/v1/builds", data={"request": "{}"}, files=many), 400, "invalid-request"
    )


def test_a_plan_takes_an_upload_too(site):
    site.workers.problem = {"type": "unresolvable", "detail": "No."}
    archive = packed(("requirements.txt", b"numpy"))
    assert send(site, archive, path="/v1/plans").status_code == 422
    assert site.workers.asked[0]["source"] == {"upload": hashlib.sha256(archive).hexdigest()}


def test_the_client_library_uploads_a_folder(site, tmp_path):
    from kitbag.client import Client

    folder = tmp_path / "My Repo"
    folder.mkdir()
    (folder / "requirements.txt").write_text("numpy\n")
    (folder / "apt.txt").write_text("git\n")
    with Client(site.url) as client:
        build = client.build(folder)
        again = client.build(folder)
    assert build.environment == "default/my-repo"
    assert again.id == build.id


def test_a_disk_that_is_full_is_told_and_left_clean(make_site, make_disk, problem):
    site = make_site(data=make_disk(3_000_000))
    full = send(site, packed(("noise", os.urandom(6_000_000))))
    problem(full, 507, "disk-full")
    assert kept(site) == []
    assert send(site, packed(("a.txt", b"x"))).status_code == 202
