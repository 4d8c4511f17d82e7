"""Which images a Dockerfile names, however it is written, and which an operator lets it name."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.binder import froms
from builder.errors import ForbiddenImageError, InvalidSpecError

GOOD = frozenset({"good.example", "docker.io/library"})


def images(folder: Path, text: str) -> list[str]:
    (folder / "Dockerfile").write_text(text)
    return [image for _, image in froms.read_dockerfile(folder, "Dockerfile").images]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("FROM a\n", ["a"]),
        ("from a as b\nFROM b\n", ["a"]),
        ("FROM --platform=$BUILDPLATFORM a:1 AS x\nFROM c@sha256:d\nCOPY --from=x /a /b\n",
         ["a:1", "c@sha256:d"]),
        ("ARG V=3.12\nARG IMG=python:${V}\nFROM ${IMG}-slim\n", ["python:3.12-slim"]),
        ("ARG V\nFROM a:${V:-1}\n", ["a:1"]),
        ("FROM a\nCOPY --from=evil/x /a /b\n", ["a", "evil/x"]),
        ("FROM a\nRUN --mount=type=bind,from=evil/x,target=/m true\n", ["a", "evil/x"]),
        ("FROM a\nONBUILD COPY --from=evil/x / /\n", ["a", "evil/x"]),
        ("# syntax=evil/frontend\nFROM a\n", ["evil/frontend", "a"]),
        ("FROM \\\n# a comment\n\n evil/x\n", ["evil/x"]),
        ("# escape=`\nFROM `\n evil/x\n", ["evil/x"]),
        ('FROM "evil/x"\n', ["evil/x"]),
        ("FROM scratch\nCOPY --from=0 / /\n", []),
        ("\tFROM\ta\n", ["a"]),
    ],
)  # fmt: skip
def test_every_image_that_is_named_is_found(tmp_path, text, named):
    assert images(tmp_path, text) == named


@pytest.mark.parametrize(
    "text",
    [
        "ARG X=good.example/a\nARG X=evil.example/a\nFROM $X\n",
        "ARG X=evil.example/a \\\nARG X=good.example/a\nFROM $X\n",
        "FROM good.example/a\nRUN <<E\nfoo \\\nE\nFROM \\\nevil.example/x\n",
        "FROM good.example/a\nRUN <<'E\\'\nE\\\nFROM evil.example/x\n",
        "FROM good.example.evil.example/a\n",
        "FROM good.example/a AS b\nFROM evil.example/b\n",
        "FROM evil/x\n",
        "FROM good.example/a\nCOPY --from=evil.example/x / /\n",
        "FROM good.example/a\nRUN --mount=type=bind,from=evil.example/x,target=/m true\n",
        "ARG A=good.example/a\nFROM ${A%%good*}evil.example/x\n",
        "ARG A=good.example/a\nFROM ${B:-${A}}\n",
        "# syntax = evil.example/frontend\nFROM good.example/a\n",
    ],
)
def test_no_trick_hides_an_image_that_is_not_allowed(tmp_path, text):
    (tmp_path / "Dockerfile").write_text(text)
    with pytest.raises((ForbiddenImageError, InvalidSpecError)) as caught:
        froms.check(froms.read_dockerfile(tmp_path, "Dockerfile"), GOOD)
    assert "Dockerfile, line" in caught.value.detail


@pytest.mark.parametrize(
    "text", ["FROM python:3.12\n", "FROM good.example/a/b:1\n", "ARG R=good.example\nFROM $R/a\n"]
)
def test_allowed_registries_and_folders_pass(tmp_path, text):
    (tmp_path / "Dockerfile").write_text(text)
    froms.check(froms.read_dockerfile(tmp_path, "Dockerfile"), GOOD)


@pytest.mark.parametrize("text", ["", "RUN true\n", "ARG X\nFROM $X\n", "FROM\n"])
def test_a_dockerfile_that_starts_from_nothing_is_refused(tmp_path, text):
    (tmp_path / "Dockerfile").write_text(text)
    with pytest.raises(InvalidSpecError):
        froms.read_dockerfile(tmp_path, "Dockerfile")
