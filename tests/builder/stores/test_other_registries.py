"""What other registries do differently, done by a front of the real one."""

from __future__ import annotations

import pytest

from builder.errors import StoreRefusedError, StoreUnreachableError
from builder.stores.credentials import Fixed, Login

pytestmark = pytest.mark.rig
SECRET = Fixed(Login("alice", "secret"))


def behind_a_password(front, then=lambda _: None):
    """A rule that asks for a basic login first."""

    def rule(asked):
        if "authorization" not in asked.headers:
            return front.answer(401, WWW_Authenticate='Basic realm="x"')
        return then(asked)

    return rule


def test_an_object_store_on_another_host_is_followed_without_our_login(
    registry, make_front, make_store, make_blob
):
    blob = make_blob(300_000)
    make_store(registry.host).put_blob("other/moved", blob.descriptor, blob.open)
    front, objects = make_front(registry.port), make_front(registry.port)

    def redirect(asked):
        if asked.method in ("GET", "HEAD") and "/blobs/sha256:" in asked.path:
            where = f"http://localhost:{objects.port}{asked.path}?signature=s3cret"
            return front.answer(307, Location=where)
        return None

    front.rule = behind_a_password(front, redirect)
    store = make_store(front.host, credentials=SECRET)
    assert b"".join(store.blob("other/moved", blob.digest)) == blob.data
    assert store.missing("other/moved", [blob.digest]) == set()
    assert [asked.method for asked in objects.asked] == ["GET"]
    assert "authorization" not in objects.asked[0].headers
    assert all("authorization" in a.headers for a in front.asked[1:])


def test_an_upload_location_on_another_host_gets_no_login(
    registry, make_front, make_store, make_blob
):
    front, uploads, blob = make_front(registry.port), make_front(registry.port), make_blob(1000)

    def elsewhere(asked, answer):
        if asked.method == "POST":
            where = answer.headers["Location"].replace(front.host, f"localhost:{uploads.port}")
            return front.answer(answer.status, Location=where)
        return answer

    front.rule, front.change = behind_a_password(front), elsewhere
    store = make_store(front.host, credentials=SECRET)
    store.put_blob("other/uploads", blob.descriptor, blob.open)
    assert [asked.method for asked in uploads.asked] == ["PUT"]
    assert "authorization" not in uploads.asked[0].headers


def test_a_location_may_be_a_path(registry, make_front, make_store, make_blob):
    front, blob = make_front(registry.port), make_blob(1000)

    def relative(_, answer):
        where = answer.headers.get("Location", "").removeprefix(f"http://{front.host}")
        return front.answer(answer.status, answer.body, **answer.headers | {"Location": where})

    front.change = relative
    store = make_store(front.host, chunk_bytes=400)
    store.put_blob("other/relative", blob.descriptor, blob.open)
    assert b"".join(store.blob("other/relative", blob.digest)) == blob.data


def test_a_registry_without_chunks_gets_the_blob_at_once(
    registry, make_front, make_store, make_blob
):
    front, blob = make_front(registry.port), make_blob(1000)
    front.rule = lambda asked: front.answer(405) if asked.method == "PATCH" else None
    store = make_store(front.host, chunk_bytes=300)
    store.put_blob("other/whole", blob.descriptor, blob.open)
    assert b"".join(store.blob("other/whole", blob.digest)) == blob.data


def test_the_smallest_chunk_that_a_registry_takes_is_respected(
    registry, make_front, make_store, make_blob
):
    front, blob = make_front(registry.port), make_blob(1000)

    def demanding(asked, answer):
        if asked.method == "POST":
            more = answer.headers | {"OCI-Chunk-Min-Length": "600"}
            return front.answer(answer.status, **more)
        return answer

    front.change = demanding
    make_store(front.host, chunk_bytes=100).put_blob("other/min", blob.descriptor, blob.open)
    sent = [a.headers["content-range"] for a in front.asked if a.method == "PATCH"]
    assert sent == ["0-599", "600-999"]


def test_a_download_that_ignores_ranges_still_ends_well(
    registry, make_front, make_store, make_blob
):
    blob = make_blob(300_000)
    make_store(registry.host).put_blob("other/norange", blob.descriptor, blob.open)
    front = make_front(registry.port)
    asked_for = []

    def without_ranges(asked, answer):
        if "/blobs/" not in asked.path:
            return answer
        asked_for.append(asked.headers.get("range"))
        whole = blob.data
        if len(asked_for) == 1:
            lie = {"Content-Length": str(len(whole))}
            return front.answer(200, whole[:200_000], **lie)
        return front.answer(200, whole)

    front.change = without_ranges
    store = make_store(front.host, timeout_s=1)
    assert b"".join(store.blob("other/norange", blob.digest)) == blob.data
    assert asked_for[0] is None
    assert asked_for[1] is not None


@pytest.mark.parametrize(
    ("status", "code", "message", "sentence"),
    [
        (403, "DENIED", "no", "does not allow this login to push to .*: ask its operator"),
        (405, "UNSUPPORTED", "no", r"takes no pushes \(no\): it is read-only"),
        (404, "NAME_UNKNOWN", "no such project", "does not exist .*: create the repository"),
        (413, "SIZE_INVALID", "no", "refuses blobs of this size"),
        (403, "DENIED", "will exceed the upper limit of 1 GiB", "is out of quota .*1 GiB"),
        (507, "", "", "is out of quota"),
        (418, "", "", "refused a POST with HTTP 418"),
    ],
)
def test_a_refusal_is_one_sentence_that_says_what_to_do(
    registry, make_front, make_store, make_blob, status, code, message, sentence
):
    front, blob = make_front(registry.port), make_blob(10)
    body = f'{{"errors": [{{"code": "{code}", "message": "{message}"}}]}}'.encode()
    front.rule = lambda asked: front.answer(status, body) if asked.method == "POST" else None
    with pytest.raises(StoreRefusedError, match=sentence) as refused:
        make_store(front.host).put_blob("other/refusal", blob.descriptor, blob.open)
    assert f"{front.host}/other/refusal" in refused.value.detail
    assert refused.value.extra["status"] == status
    assert front.count("POST") == 1


def test_a_registry_that_stores_something_else_is_found_out(
    registry, make_front, make_store, make_blob
):
    front, blob = make_front(registry.port), make_blob(10)

    def lie(asked, answer):
        if asked.method == "PUT":
            other = answer.headers | {"Docker-Content-Digest": f"sha256:{'0' * 64}"}
            return front.answer(answer.status, answer.body, **other)
        return answer

    front.change = lie
    with pytest.raises(StoreUnreachableError, match=r"stored sha256:0000.* instead of"):
        make_store(front.host).put_blob("other/lie", blob.descriptor, blob.open)


def test_a_tag_is_read_back_where_the_registry_names_no_digest(
    registry, make_front, make_store, make_blob, push_image
):
    front = make_front(registry.port)
    silent = ("Docker-Content-Digest", "Etag")
    front.change = lambda _, answer: front.answer(
        answer.status, answer.body, **{k: v for k, v in answer.headers.items() if k not in silent}
    )
    store = make_store(front.host)
    pushed = push_image(store, "other/silent", [make_blob(10)], "v1")
    assert [a.method for a in front.asked if "/manifests/v1" in a.path] == ["PUT", "GET"]
    assert store.manifest("other/silent", "v1") == pushed


def test_something_that_is_no_registry_is_said_so(make_store, registry, make_front):
    front = make_front(registry.port)
    front.rule = lambda _: front.answer(200, b"<html>welcome</html>", Content_Type="text/html")
    with pytest.raises(StoreRefusedError, match="something that is no manifest"):
        make_store(front.host).manifest("other/page", "v1")


def test_redirects_in_a_circle_end(registry, make_front, make_store):
    front = make_front(registry.port)
    front.rule = lambda asked: front.answer(307, Location=asked.path)
    with pytest.raises(StoreRefusedError, match="HTTP 307"):
        make_store(front.host).manifest("other/circle", "v1")
    assert len(front.asked) <= 7


def test_a_source_that_we_may_not_read_costs_the_mount_and_not_the_push(
    registry, make_front, make_store, make_blob
):
    front, blob = make_front(registry.port), make_blob(1000)

    def guarded(asked):
        if asked.path.startswith("/token"):
            if "other%2Fsecret" in asked.path:
                return front.answer(403)
            return front.answer(200, b'{"token": "t"}')
        if "authorization" in asked.headers:
            return None
        return front.answer(401, WWW_Authenticate=f'Bearer realm="http://{front.host}/token"')

    front.rule = guarded
    store = make_store(front.host)
    put = store.put_blob("other/mine", blob.descriptor, blob.open, mount_from="other/secret")
    assert put.moved_bytes == 1000
    assert store.missing("other/mine", [blob.digest]) == set()


def test_more_headers_go_with_each_request_to_the_registry_and_nowhere_else(
    registry, make_front, make_store, make_blob
):
    blob = make_blob(10_000)
    make_store(registry.host).put_blob("other/traced", blob.descriptor, blob.open)
    front, objects = make_front(registry.port), make_front(registry.port)

    def redirect(asked):
        if asked.method == "GET" and "/blobs/sha256:" in asked.path:
            return front.answer(307, Location=f"http://localhost:{objects.port}{asked.path}")
        return None

    front.rule = redirect
    store = make_store(front.host, more_headers=lambda: {"traceparent": "00-1-2-01"})
    assert b"".join(store.blob("other/traced", blob.digest)) == blob.data
    assert store.missing("other/traced", ["sha256:" + "0" * 64])
    assert {asked.headers.get("traceparent") for asked in front.asked} == {"00-1-2-01"}
    assert [asked.headers.get("traceparent") for asked in objects.asked] == [None]
