"""Who holds a package, over HTTP."""

from __future__ import annotations


def test_environments_that_hold_a_package_are_found(site):
    site.new_version("numpy")
    told = site.http.get("/v1/packages", params={"requirement": "numpy<2.1"}).json()
    assert told == {
        "requirement": "numpy<2.1",
        "total": 1,
        "items": [
            {
                "environment": "alice/gan",
                "version": 1,
                "image": "registry.example/alice/gan@sha256:" + "a" * 64,
                "releases": ["2.0.0"],
            }
        ],
        "next": None,
    }


def test_what_is_no_requirement_is_a_problem(site, problem):
    refused = site.http.get("/v1/packages", params={"requirement": "numpy <"})
    assert "write it like urllib3<2.5" in problem(refused, 422, "invalid-request")["detail"]
    for after in ("x", "a/b:0", "a/b:\0", "a/b"):
        query = {"requirement": "numpy", "after": after}
        problem(site.http.get("/v1/packages", params=query), 422, "invalid-request")


def test_pages_are_told_where_the_next_begins(site):
    for _ in range(3):
        site.new_version(f"numpy<{_ + 3}")
    query = {"requirement": "numpy", "every": True, "limit": 2}
    first = site.http.get("/v1/packages", params=query).json()
    assert [item["version"] for item in first["items"]] == [3, 2]
    rest = site.http.get("/v1/packages", params=query | {"after": first["next"]}).json()
    assert ([item["version"] for item in rest["items"]], rest["next"]) == ([1], None)
