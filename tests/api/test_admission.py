from __future__ import annotations

import base64
import copy
import json
import threading
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.admission.book import Known, _read, _references
from catalog.engine import writing
from catalog.versions import ImageFacts
from kitbag.specs import Images

IMAGE = "registry.example/alice/gan@sha256:" + "a" * 64
NEWER = "registry.example/alice/gan@sha256:" + "d" * 64
ANNOTATION = "kitbag.dev/environment"
BESIDE = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.20"}


def job(image: str = "kitbag://alice/gan", *, environment: str = "", **metadata: Any) -> Any:
    annotations = {ANNOTATION: environment} if environment else {}
    template = {"spec": {"containers": [{"name": "tensorflow", "image": image}, dict(BESIDE)]}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": "gan", "namespace": "alice", "annotations": annotations, **metadata},
        "spec": {"tfReplicaSpecs": {"Worker": {"replicas": 2, "template": template}}},
    }


def pod(image: str, **more: Any) -> Any:
    containers = [{"name": "c", "image": image}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": containers, **more},
    }


def review(obj: Any, *, old: Any = None, namespace: str = "alice", **more: Any) -> Any:
    group, _, version = obj["apiVersion"].rpartition("/")
    request = {
        "uid": "u-1",
        "kind": {"group": group, "version": version, "kind": obj["kind"]},
        "namespace": namespace,
        "operation": "UPDATE" if old else "CREATE",
        "object": obj,
        "oldObject": old,
        "options": {"kind": "CreateOptions"},
    }
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": request | more,
    }


def admit(site: Any, obj: Any, path: str = "/v1/admission", **more: Any) -> dict[str, Any]:
    answered = site.http.post(path, json=review(obj, **more))
    assert answered.status_code == 200, answered.text
    body: dict[str, Any] = answered.json()
    assert (body["apiVersion"], body["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert body["response"]["uid"] == "u-1"
    return body["response"]


def patch_of(response: dict[str, Any]) -> Any:
    assert response["allowed"] is True, response
    if "patch" not in response:
        return []
    assert response["patchType"] == "JSONPatch"
    return json.loads(base64.b64decode(response["patch"]))


def patched(obj: Any, operations: Any) -> Any:
    """What the operations make of the object, as RFC 6902 has it."""
    result = copy.deepcopy(obj)
    for operation in operations:
        *parents, key = (
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        )
        place = result
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if operation["op"] == "test":
            assert place[key] == operation["value"]
        else:
            place[key] = operation["value"]
    return result


def refusal(response: dict[str, Any]) -> str:
    assert response["allowed"] is False
    message: str = response["status"]["message"]
    assert message.endswith(".")
    return message


def counted(site: Any, webhook: str, result: str) -> float:
    line = f'kitbag_admissions_total{{result="{result}",webhook="{webhook}"}} '
    found = [row for row in site.http.get("/metrics").text.splitlines() if row.startswith(line)]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


@pytest.mark.parametrize("path", ["/v1/admission", "/admission"])
def test_a_reference_becomes_its_digest_and_the_container_beside_it_stays(site, path):
    site.new_version()
    place = "/spec/tfReplicaSpecs/Worker/template/spec/containers/0/image"
    assert patch_of(admit(site, job(), path)) == [
        {"op": "test", "path": place, "value": "kitbag://alice/gan"},
        {"op": "replace", "path": place, "value": IMAGE},
    ]
    assert counted(site, "mutate", "pinned") == 1


def test_a_container_that_asks_for_gpus_gets_the_image_for_them_also_from_memory(site):
    images = [
        ImageFacts(f"r/gan@sha256:{n}", f"sha256:{n}", name, "linux/amd64", "auto", "b", 1)
        for n, name in (("1" * 64, "cpu"), ("2" * 64, "cuda"))
    ]
    site.new_version(images=images, image=images[0].image, digest=images[0].digest)
    both = job()
    workers = both["spec"]["tfReplicaSpecs"]
    workers["PS"] = copy.deepcopy(workers["Worker"])
    container = workers["Worker"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    for _ in range(2):
        done = patched(both, patch_of(admit(site, both)))["spec"]["tfReplicaSpecs"]
        told = [
            done[kind]["template"]["spec"]["containers"][0]["image"] for kind in ("PS", "Worker")
        ]
        assert told == [image.image for image in images]
    kept = _read(json.loads(json.dumps(_references(Images({"cpu": "a", "cuda": "b"})))))
    assert isinstance(kept, Images) and kept.by == {"cpu": "a", "cuda": "b"}
    assert _read("r/a@sha256:1") == "r/a@sha256:1"


def test_an_annotation_pins_an_object_that_has_another_image_and_again_nothing(site):
    site.new_version()
    first = job("tensorflow/tensorflow:2.15", environment="alice.gan")
    once = patched(first, patch_of(admit(site, first)))
    assert once == job(IMAGE, environment="alice.gan")
    assert patch_of(admit(site, once)) == []


@pytest.mark.parametrize("trainer", [{}, {"numNodes": 2}])
def test_a_missing_image_is_added(site, trainer):
    site.new_version()
    train = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "t", "annotations": {ANNOTATION: "alice.gan"}},
        "spec": {"trainer": trainer},
    }
    operations = patch_of(admit(site, train))
    assert operations == [{"op": "add", "path": "/spec/trainer/image", "value": IMAGE}]


def test_an_image_inside_a_text_is_pinned_there(site):
    site.new_version()
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "w"},
        "spec": {
            "podSpecPatch": "containers:\n- name: main  # mine\n  image: kitbag://alice/gan\n"
        },
    }
    once = patched(workflow, patch_of(admit(site, workflow)))
    text = workflow["spec"]["podSpecPatch"].replace("kitbag://alice/gan", IMAGE)
    assert once["spec"]["podSpecPatch"] == text


def test_a_reference_in_a_place_that_no_kind_has_is_resolved_too(site):
    site.new_version()
    told = job("tensorflow/tensorflow:2.15")
    pod_spec = told["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    pod_spec["containers"][0]["env"] = [{"name": "IMAGE", "value": "kitbag://alice/gan"}]
    operations = patch_of(admit(site, told))
    assert [each["path"].rpartition("containers")[2] for each in operations] == [
        "/0/env/0/value",
        "/0/env/0/value",
    ]


def test_texts_that_json_and_yaml_write_differently_stay_what_they_are(site):
    site.new_version()
    odd = "é \x7f \u2028 \ufeff 😀 ' \" \\ # : \t\r\n {{x}} ${y} yes 0o7 \ud800"
    noted = job(labels={"odd": odd}, annotations={"a/b~c": odd})
    sent = json.dumps(review(noted))
    answered = site.http.post("/v1/admission", content=sent).json()["response"]
    operations = patch_of(answered)
    assert [operation["path"][-5:] for operation in operations] == ["image", "image"]


def test_who_asks_for_nothing_is_let_through_untouched(site):
    before = admit(site, job("tensorflow/tensorflow:2.15"))
    assert before == {"uid": "u-1", "allowed": True}
    assert counted(site, "mutate", "unchanged") == 1


@pytest.mark.parametrize("namespace", ["kube-system", "kitbag-system"])
def test_exempt_namespaces_are_never_touched(make_site, namespace):
    site = make_site(admission_exempt=["kube-system", "kitbag-system"])
    assert patch_of(admit(site, job("kitbag://no/one"), namespace=namespace)) == []


def test_an_environment_that_is_not_there_is_refused_with_a_sentence(site):
    told = refusal(admit(site, job("kitbag://alice/nothing")))
    assert "alice/nothing" in told
    site.new_version()
    assert "no version '9'" in refusal(admit(site, job("kitbag://alice/gan:9")))
    assert "NAMESPACE.NAME" in refusal(admit(site, job("x", environment="what is this")))
    assert counted(site, "mutate", "refused") == 3


def test_two_containers_that_could_be_the_users_are_named(site):
    site.new_version()
    two = pod("a:1", containers=[{"name": "one", "image": "a:1"}, {"name": "two", "image": "b:1"}])
    two["metadata"]["annotations"] = {ANNOTATION: "alice.gan"}
    told = refusal(admit(site, two))
    assert "one, two" in told and "default-container" in told and "--container" not in told


def test_another_teams_environment_is_refused_unless_it_is_allowed(site, make_site):
    site.new_version()
    told = refusal(admit(site, job(), namespace="bob"))
    assert "alice/gan belongs to alice" in told and "'bob=alice/gan'" in told
    told = refusal(admit(site, job("x", environment="alice.gan"), namespace="bob"))
    assert "may not use it" in told
    for rule in ("alice/*", "bob=alice/gan", "b*=*/gan"):
        open_site = make_site(admission_allow=[rule])
        assert patch_of(admit(open_site, job(), namespace="bob"))
    closed = make_site(admission_allow=["carol=alice/*", "alice/other"])
    refusal(admit(closed, job(), namespace="bob"))


DEFAULT = "/v1/admission/default/alice.gan"


def test_the_environment_of_a_namespace_is_for_what_users_run_that_asks_for_nothing(site):
    site.new_version()
    plain = job("tensorflow/tensorflow:2.15")
    operations = patch_of(admit(site, plain, DEFAULT, namespace="bob"))
    assert patched(plain, operations)["spec"] == job(IMAGE)["spec"]
    assert patch_of(admit(site, plain)) == []
    chosen = job("tensorflow/tensorflow@sha256:" + "e" * 64)
    for other in (chosen, job(IMAGE), pod("python:3"), pod("x") | {"kind": "Deployment"}):
        assert admit(site, other, DEFAULT) == {"uid": "u-1", "allowed": True}
    owner = {"kind": "Experiment", "name": "e", "uid": "1", "controller": True}
    assert patch_of(admit(site, job("a:1", ownerReferences=[owner]), DEFAULT)) == []


def test_what_an_object_asks_for_goes_before_the_environment_of_its_namespace(site):
    site.new_version("1")
    site.new_version("2", digest="sha256:" + "d" * 64)
    for asked in (job("kitbag://alice/gan:1"), job("x", environment="alice.gan.1")):
        done = patched(asked, patch_of(admit(site, asked, DEFAULT)))
        assert done["spec"] == job(IMAGE)["spec"]
    told = refusal(admit(site, job("kitbag://alice/gan"), DEFAULT, namespace="bob"))
    assert "may not use it" in told


def test_an_update_gets_the_environment_of_its_namespace_only_where_it_writes_an_image(site):
    site.new_version()
    old = job("tensorflow/tensorflow:2.15")
    finalized = job("tensorflow/tensorflow:2.15", finalizers=["a/b"])
    assert patch_of(admit(site, finalized, DEFAULT, old=old)) == []
    written = job("tensorflow/tensorflow:2.16")
    operations = patch_of(admit(site, written, DEFAULT, old=old))
    assert patched(written, operations)["spec"] == job(IMAGE)["spec"]


def test_a_namespaces_environment_that_cant_be_used_is_a_warning_and_no_refusal(site, problem):
    plain = job("tensorflow/tensorflow:2.15")
    response = admit(site, plain, DEFAULT)
    assert response["allowed"] and "patch" not in response
    assert "alice/gan, is not used: " in response["warnings"][0]
    site.new_version()
    break_catalog(site)
    response = admit(site, plain, DEFAULT)
    assert response["allowed"] and "does not answer" in response["warnings"][0]
    wrong = site.http.post("/v1/admission/default/what", json=review(plain))
    assert "NAMESPACE.NAME" in problem(wrong, 422, "invalid-request")["detail"]


def test_an_update_moves_no_digest_that_it_did_not_touch(site):
    site.new_version("1")
    old = job(IMAGE, environment="alice.gan")
    site.new_version("2", digest="sha256:" + "d" * 64)
    finalized = job(IMAGE, environment="alice.gan", finalizers=["a/b"])
    assert patch_of(admit(site, finalized, old=old)) == []
    applied = job("kitbag://alice/gan", environment="alice.gan")
    assert patched(applied, patch_of(admit(site, applied, old=old)))["spec"] == job(NEWER)["spec"]
    moved = job(IMAGE, environment="alice.gan.2")
    assert patched(moved, patch_of(admit(site, moved, old=old)))["spec"] == job(NEWER)["spec"]


def test_an_update_that_has_nothing_to_do_with_images_asks_and_waits_for_nothing(site):
    site.new_version("1")
    waiting = {"kitbag.dev/wait": "build", ANNOTATION: "alice.gan"}
    old = job(IMAGE, annotations=waiting)
    site.workers.told.clear()
    new = job(IMAGE, annotations=waiting, finalizers=["a/b"])
    new["spec"]["tfReplicaSpecs"]["Worker"]["replicas"] = 5
    new["status"] = {"conditions": [{"type": "Running"}]}
    assert admit(site, new, old=old) == {"uid": "u-1", "allowed": True}
    assert site.workers.told == []
    gone = job(IMAGE, environment="alice.gone")
    assert patch_of(admit(site, gone, old=gone)) == []


def test_what_is_being_deleted_is_let_go(site):
    dying = job("kitbag://no/one", deletionTimestamp="2026-01-01T00:00:00Z")
    assert patch_of(admit(site, dying, old=job("kitbag://no/one", finalizers=["a/b"]))) == []
    assert admit(site, dying, "/v1/admission/validate", old=job("x"))["allowed"]


def test_a_workflow_that_only_mentions_kitbag_is_not_ours_to_refuse(site):
    compiled = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "w", "labels": {"team": "kitbag"}},
        "spec": {
            "arguments": {
                "parameters": [
                    {
                        "name": "implementations-1",
                        "value": '{"image": "r.example/kitbag/a@sha256:1"}',
                    }
                ]
            }
        },
    }
    assert patch_of(admit(site, compiled)) == []
    text = compiled["spec"]["arguments"]["parameters"][0]["value"]
    compiled["spec"]["arguments"]["parameters"][0]["value"] = text.replace(
        "r.example/kitbag/a@sha256:1", "kitbag://alice/gan"
    )
    assert "ecompile" in refusal(admit(site, compiled))


def test_what_a_controller_makes_keeps_the_digest_of_its_template(site):
    site.new_version()
    owner = {"apiVersion": "kubeflow.org/v1", "kind": "TFJob", "name": "gan", "uid": "1"}
    made = job(NEWER, environment="alice.gan", ownerReferences=[owner | {"controller": True}])
    assert patch_of(admit(site, made)) == []
    made = job("kitbag://alice/gan", ownerReferences=[owner | {"controller": True}])
    assert patch_of(admit(site, made))


def test_latest_is_the_newest_a_moment_later(make_site):
    site = make_site(admission_fresh_s=0)
    site.add_base()
    site.new_version("1")
    assert patched(job(), patch_of(admit(site, job())))["spec"] == job(IMAGE)["spec"]
    site.new_version("2", digest="sha256:" + "d" * 64)
    assert patched(job(), patch_of(admit(site, job())))["spec"] == job(NEWER)["spec"]


def test_a_name_that_is_used_is_asked_for_before_it_is_too_old(make_site):
    site = make_site(admission_fresh_s=3600)
    site.add_base()
    site.new_version("1")
    admit(site, job())
    site.new_version("2", digest="sha256:" + "d" * 64)
    names = site.app.state.services.admission._book._names
    old = names["alice/gan"]
    assert patched(job(), patch_of(admit(site, job())))["spec"] == job(IMAGE)["spec"]
    names["alice/gan"] = Known(old.image, old.at - 2000)
    deadline = time.monotonic() + 20
    while patched(job(), patch_of(admit(site, job())))["spec"] != job(NEWER)["spec"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["annotation", "setting"])
def test_an_object_waits_for_the_build_that_is_under_way(make_site, how):
    site = make_site(**({"admission_wait": "running"} if how == "setting" else {}))
    site.add_base()
    site.new_version("1")
    asked = job(annotations={"kitbag.dev/wait": "running"}) if how == "annotation" else job()
    build = site.ask("2")["id"]
    site.workers.begin(build)
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(admit(site, asked)))
    waiter.start()
    time.sleep(0.3)
    assert answers == []
    site.workers.finish(build, digest="sha256:" + "d" * 64)
    waiter.join(20)
    assert patched(asked, patch_of(answers[0]))["spec"] == job(NEWER)["spec"]


def test_an_object_may_ask_for_a_build_of_what_was_last_asked_for(site):
    git = {"git": {"url": "https://git.example/alice/gan", "ref": "main"}}
    body = {"environment": "alice/gan", "source": git}
    first = site.http.post("/v1/builds", json=body).json()["id"]
    site.workers.build(first)
    site.workers.told.clear()
    asked = job(annotations={"kitbag.dev/wait": "build"})
    assert patch_of(admit(site, asked, dryRun=True))
    assert site.workers.told == []
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(admit(site, asked)))
    waiter.start()
    deadline = time.monotonic() + 20
    while not site.workers.told and time.monotonic() < deadline:
        time.sleep(0.01)
    site.workers.build(site.workers.told[0], digest="sha256:" + "d" * 64)
    waiter.join(20)
    assert patched(asked, patch_of(answers[0]))["spec"] == job(NEWER)["spec"]


def test_waiting_ends_with_the_api_servers_patience_or_the_build(site):
    site.new_version("1")
    build = site.ask("2")["id"]
    asked = job(annotations={"kitbag.dev/wait": "running"})
    told = refusal(admit(site, asked, "/v1/admission?timeout=1s"))
    assert build in told and "again" in told
    site.workers.begin(build)
    waiter = threading.Timer(0.3, site.workers.fail, (build, {"detail": "No such package."}))
    waiter.start()
    told = refusal(admit(site, asked, "/v1/admission?timeout=20s"))
    assert "No such package." in told and "version 1" in told
    assert "write never, running, build" in refusal(
        admit(site, job(annotations={"kitbag.dev/wait": "forever"}))
    )


def break_catalog(site: Any) -> None:
    with writing(site.engine) as session:
        session.execute(text("ALTER TABLE environments RENAME TO gone"))


def test_the_last_known_digests_serve_while_the_catalog_is_away(make_site):
    site = make_site(admission_fresh_s=0)
    site.add_base()
    site.new_version()
    admit(site, job())
    break_catalog(site)
    for again in (site, make_site_again(make_site)):
        response = admit(again, job())
        assert patched(job(), patch_of(response))["spec"] == job(IMAGE)["spec"]
        assert "does not answer" in response["warnings"][0]
        assert "catalog does not answer" in refusal(admit(again, job("kitbag://alice/other")))
        assert patch_of(admit(again, job("tensorflow/tensorflow:2.15"))) == []


def test_a_catalog_that_hangs_is_not_waited_for_nor_asked_again_at_once(make_site, postgres_url):
    site = make_site(postgres_url, admission_fresh_s=0)
    site.add_base()
    site.new_version()
    admit(site, job())
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with site.engine.connect() as held, site.engine.connect() as look:
        held.execute(text("LOCK TABLE environments IN ACCESS EXCLUSIVE MODE"))
        for _ in range(2):
            response = admit(site, job())
            assert patched(job(), patch_of(response))["spec"] == job(IMAGE)["spec"]
            assert "does not answer" in response["warnings"][0]
            assert look.execute(waiting).scalar_one() == 1
        assert "catalog does not answer" in refusal(admit(site, job("kitbag://alice/other")))
        assert look.execute(waiting).scalar_one() == 1, "it was asked again while it hung"


def make_site_again(make_site: Any) -> Any:
    """Another server on the same folder, as after a restart."""
    return make_site(admission_fresh_s=0)


def test_a_damaged_memory_is_only_forgotten(make_site, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/admission.json").write_text('{"names": 3')
    site = make_site()
    site.add_base()
    site.new_version()
    assert patch_of(admit(site, job()))


BAD = [
    ("[" * 200_000, "nested deeper"),
    ("{", "not valid JSON"),
    ("[]", "no AdmissionReview"),
    (json.dumps(review(job()) | {"apiVersion": "admission.k8s.io/v1beta1"}), "v1beta1"),
    (json.dumps(review(job()) | {"request": None}), "request"),
    (json.dumps(review(job(), operation="PAT")), "operation"),
    (b"\xff\xfe\x00", "not valid JSON"),
]


@pytest.mark.parametrize(("body", "says"), BAD, ids=lambda value: str(value)[:12])
def test_what_is_no_review_is_told_so(site, problem, body, says):
    answered = site.http.post("/v1/admission", content=body)
    assert says in problem(answered, 422, "invalid-request")["detail"]


def test_a_huge_body_is_refused_and_a_usual_large_one_is_read(site, problem):
    problem(site.http.post("/v1/admission", content=b" " * 9_000_000), 413, "too-large")
    site.new_version()
    large = job(annotations={"note": "x" * 2_000_000})
    assert patch_of(admit(site, large))
    large["spec"]["steps"] = [{"image": "a:1", "note": f"kitbag {n}"} for n in range(5000)]
    assert patch_of(admit(site, large))


def test_objects_of_any_shape_get_an_answer(site):
    nested: Any = "kitbag://alice/gan"
    for _ in range(300):
        nested = [nested]
    for strange in (nested, None, 3, [], {"containers": 3}, {"containers": [3]}):
        for where in ("/v1/admission", "/v1/admission/validate"):
            obj = pod("x") | {"spec": strange, "kitbag": 1, "metadata": []}
            assert "allowed" in admit(site, obj, where)
    assert "deep" in refusal(admit(site, pod("x") | {"spec": nested})).lower()


def test_a_key_in_the_path_or_a_token_lets_an_api_server_in(make_site, problem):
    key = "k" * 32
    site = make_site(admission_key=key, api_token="the-token")
    body = review(job("x"))
    for path in ("/v1/admission", "/v1/admission/wrong", "/v1/admission/validate/wrong"):
        problem(site.http.post(path, json=body), 401, "unauthorized")
    problem(site.http.post(f"{DEFAULT}/wrong", json=body), 401, "unauthorized")
    assert site.http.post(f"{DEFAULT}/{key}", json=body).status_code == 200
    for path in (f"/v1/admission/{key}", f"/v1/admission/validate/{key}", f"/admission/{key}"):
        assert site.http.post(path, json=body).json()["response"]["uid"] == "u-1"
    for shown in (key, "the-token"):
        headers = {"Authorization": f"Bearer {shown}"}
        assert site.http.post("/v1/admission", json=body, headers=headers).status_code == 200
    problem(site.http.get("/v1/environments", headers={"Authorization": f"Bearer {key}"}),
            401, "unauthorized")  # fmt: skip
    metrics = site.http.get("/metrics").text
    assert key not in metrics


def test_without_key_and_token_only_this_machine_is_answered(site, problem):
    answered = httpx.post(
        f"{site.url}/v1/admission", json=review(job("x")), headers={"Host": "kitbag.example"}
    )
    problem(answered, 403, "forbidden")


def test_only_what_was_built_here_or_is_allowed_runs(make_site):
    site = make_site(admission_images=["docker.io/istio/*", "docker.io/library/busybox:*"])
    site.add_base()
    site.new_version()

    def ask(obj: Any, **more: Any) -> Any:
        return admit(site, obj, "/v1/admission/validate", **more)

    assert ask(pod(IMAGE))["allowed"]
    assert ask(pod(IMAGE, initContainers=[{"name": "i", "image": "busybox:1.36"}]))["allowed"]
    told = refusal(ask(pod(NEWER)))
    assert "Container 'c' may not run" in told and NEWER in told
    told = refusal(ask(pod(IMAGE, initContainers=[{"name": "i", "image": "python:3"}])))
    assert "Container 'i' may not run python:3: it names no digest" in told
    told = refusal(ask(pod(IMAGE, ephemeralContainers=[{"name": "debug", "image": "sh"}])))
    assert "'debug'" in told
    refusal(ask(pod("evil.example/busybox:1.36")))
    assert "'tensorflow'" in refusal(ask(job("tensorflow/tensorflow:2.15")))
    assert ask(job(IMAGE))["allowed"]
    assert ask(pod(NEWER), old=pod(NEWER))["allowed"], "what runs already may be labelled"
    assert counted(site, "validate", "refused") == 5


def test_a_digest_that_was_seen_may_run_while_the_catalog_is_away(make_site):
    site = make_site()
    site.add_base()
    site.new_version()
    assert admit(site, pod(IMAGE), "/v1/admission/validate")["allowed"]
    with writing(site.engine) as session:
        session.execute(text("ALTER TABLE version_images RENAME TO gone"))
    assert admit(site, pod(IMAGE), "/v1/admission/validate")["allowed"]
    told = refusal(admit(site, pod(NEWER), "/v1/admission/validate"))
    assert "can't be told" in told
