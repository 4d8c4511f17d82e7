from __future__ import annotations

NOTEBOOK = """\
# a notebook  # with comments
apiVersion: kubeflow.org/v1
kind: Notebook
metadata: {name: gan}
spec:
  template:
    spec:
      containers:
      - name: gan
        image:   old/image:1   # keep me
"""
REFERENCE = NOTEBOOK.replace("old/image:1", "kitbag://alice/gan:1")
IMAGE = "registry.example/alice/gan@sha256:" + "a" * 64


def pin(site, text, **more):
    return site.http.post("/v1/pins", json={"text": text} | more)


def test_an_environment_is_pinned_and_every_other_byte_stays(site):
    site.new_version("1")
    response = pin(site, NOTEBOOK, environment="alice/gan", filename="nb.yaml")
    assert response.status_code == 200
    assert response.json()["text"] == NOTEBOOK.replace("old/image:1", IMAGE)
    assert response.json()["changes"] == [
        {
            "kind": "Notebook",
            "name": "gan",
            "path": "spec.template.spec.containers[0].image",
            "line": 10,
            "before": "old/image:1",
            "after": IMAGE,
        }
    ]


def test_references_in_the_text_are_resolved_by_themselves(site):
    site.new_version("1")
    answer = pin(site, REFERENCE).json()
    assert answer["text"] == NOTEBOOK.replace("old/image:1", IMAGE)


def test_an_image_is_pinned_without_any_environment(site):
    image = "r.example/x@sha256:" + "c" * 64
    assert pin(site, NOTEBOOK, image=image).json()["text"] == NOTEBOOK.replace("old/image:1", image)


def test_what_is_not_there_is_told(site, problem):
    problem(pin(site, NOTEBOOK, environment="no/one"), 404, "environment-not-found")
    problem(pin(site, REFERENCE), 404, "environment-not-found")
    site.new_version("1")
    problem(pin(site, NOTEBOOK, environment="alice/gan:9"), 404, "version-not-found")


def test_a_text_that_can_not_be_pinned_says_where(site, problem):
    broken = pin(site, "a: [1\nb: }", image="r/x@sha256:" + "c" * 64, filename="x.yaml")
    told = problem(broken, 422, "spec-refused")
    assert told["file"] == "x.yaml"
    assert told["line"] >= 1
    template = "kind: Notebook\nimage: {{ .Values.image }}\n"
    problem(pin(site, template, image="r/x@sha256:" + "c" * 64), 422, "spec-refused")


def test_wishes_that_contradict_or_mean_nothing_are_refused(site, problem):
    both = pin(site, NOTEBOOK, environment="alice/gan", image="r/x")
    assert "not both" in problem(both, 422, "invalid-request")["detail"]
    for more in ({"environment": "Not A Name"}, {"image": "no image ref!"}):
        told = problem(pin(site, NOTEBOOK, **more), 422, "invalid-request")
        assert next(iter(more)) in told["detail"]
    problem(site.http.post("/v1/pins", json={}), 422, "invalid-request")
    problem(pin(site, "a: b", imgae="x"), 422, "invalid-request")


def test_what_it_takes_to_pull_is_added_where_asked_for(site, problem):
    image = "r.example/x@sha256:" + "c" * 64
    wishes = {"image": image, "pull_secrets": ["regcred"], "pull_policy": "IfNotPresent"}
    answer = pin(site, NOTEBOOK, **wishes).json()
    assert "      imagePullSecrets:\n      - name: regcred\n      containers:" in answer["text"]
    assert "        imagePullPolicy: IfNotPresent\n" in answer["text"]
    assert pin(site, answer["text"], **wishes).json()["changes"] == []
    for bad in ({"pull_secrets": ["a b"]}, {"pull_secrets": ["x\n"]}, {"pull_policy": "Sometimes"}):
        problem(pin(site, NOTEBOOK, image=image, **bad), 422, "invalid-request")
