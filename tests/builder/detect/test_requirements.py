"""Requirements files of all sorts, most of them written by somebody who means us no good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from builder.detect import read_requirements
from builder.detect.lines import logical_lines, read_line
from builder.detect.model import Asked, Detected, Kind
from builder.errors import BuildError, EngineNeededError, InvalidSpecError, TooLargeError
from builder.model import Way


def asked(text: str) -> Asked:
    return read_line(text, "requirements.txt", 7)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("numpy", "numpy"),
        ("NumPy[extra1 , extra2]>=1.0,<2 ; python_version>'3'",
         'NumPy[extra1,extra2]<2,>=1.0; python_version > "3"'),
        ("numpy (>=1)", "numpy>=1"),
        ("https://h/d/foo_bar-1.0-py3-none-any.whl",
         "foo-bar @ https://h/d/foo_bar-1.0-py3-none-any.whl"),
        ("foo@https://h/foo-1.0-py3-none-any.whl", "foo @ https://h/foo-1.0-py3-none-any.whl"),
        ("torch==2.6.0+cu124", "torch==2.6.0+cu124"),
    ],
)  # fmt: skip
def test_a_requirement_is_read_and_written_anew(line, text):
    found = asked(line)
    assert found.text == text
    assert (found.file, found.line) == ("requirements.txt", 7)
    assert str(Requirement(found.text)) == found.text


def test_lines_are_joined_and_comments_left_out_as_pip_does():
    text = "a # one\n# two \\\nb \\\n  >=1 \\\n # gone\nc#not-a-comment\n\n  d\t# x\ne\\"
    assert list(logical_lines(text)) == [
        (1, "a"),
        (3, "b   >=1"),
        (6, "c#not-a-comment"),
        (8, "d"),
        (9, "e"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "foo bar", "foo>=>1", "foo; nonsense == 1", "foo=1", "==1.0", "foo[", "foo --bad-option x",
        "foo==1.*.2", "foo ${HOME}", "foo; python_version > '${AWS_SECRET_ACCESS_KEY}'",
        "foo --hash=md5:abc", "https://user:pw@h/foo-1.0-py3-none-any.whl", "\x00", "foo\x1b[31m",
    ],
)  # fmt: skip
def test_a_line_that_is_no_requirement_names_its_file_and_line(line):
    with pytest.raises(InvalidSpecError) as caught:
        asked(line)
    assert caught.value.detail.startswith("requirements.txt, line 7 ")
    assert caught.value.extra == {"file": "requirements.txt", "line": 7}
    assert "pw" not in caught.value.detail


@pytest.mark.parametrize(
    "line",
    [
        ".", "./x", "../x", "/etc", "~/x", "file:///etc/passwd", "git+https://h/r@main#egg=x",
        "x @ git+ssh://git@h/r", "hg+http://h/r", "x @ file:///x-1.0-py3-none-any.whl",
        "https://h/x.zip", "dist/x-1.0-py3-none-any.whl", "x-1.0.tar.gz", "x @ https://h/x.tar.gz",
        "x --global-option=build", "x --config-settings a=b",
    ],
)  # fmt: skip
def test_what_must_be_built_says_so(line):
    with pytest.raises(EngineNeededError, match=r"requirements\.txt, line 7: .* built from source"):
        asked(line)


def test_the_options_of_a_requirements_file_are_read(read):
    found = read(
        {
            "requirements.txt": "--index-url https://one.example/simple\n"
            "--extra-index-url=https://two.example/simple --pre\n-f https://three.example/links\n"
            "--trusted-host one.example\n--prefer-binary\n--only-binary :all:\n--require-hashes\n"
            "--no-binary :none:\n-c c.txt\n-rmore.txt\n--no-index\n",
            "c.txt": "numpy<2\n",
            "more.txt": "-r requirements.txt\npandas\n",
        }
    )
    assert found.index_url == "https://one.example/simple"
    assert found.extra_index_urls == ("https://two.example/simple",)
    assert found.find_links == ("https://three.example/links",)
    assert found.pre
    assert found.no_index
    assert [each.text for each in found.constraints] == ["numpy<2"]
    assert [each.text for each in found.asked] == ["pandas"]
    assert found.files == ("requirements.txt", "c.txt", "more.txt")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-r /etc/passwd", "outside the repository"),
        ("-r ../../etc/passwd", "outside the repository"),
        ("-r sub/../../x", "outside the repository"),
        ("-c ../x", "outside the repository"),
        ("-r http://169.254.169.254/latest", "includes a URL"),
        ("-r file:///etc/passwd", "includes a URL"),
        ("-r nope.txt", "not in the repository"),
        ("-r", "names no file"),
        ("-r 'unclosed", "unclosed quote"),
        ("--index-url file:///etc", "http or https URL"),
        ("-i", "http or https URL"),
        ("--index-url https://h/${SECRET}", "environment variable"),
        ("--extra-index-url ssh://h/", "http or https URL"),
        ("--config-file x", "unknown option '--config-file'"),
        ("--python /bin/sh", "unknown option '--python'"),
    ],
)
def test_an_option_that_reaches_outside_is_refused(read, line, says):
    with pytest.raises(InvalidSpecError) as caught:
        read({"requirements.txt": f"numpy\n{line}\n"})
    assert says in caught.value.detail
    assert caught.value.extra == {"file": "requirements.txt", "line": 2}


def test_files_that_include_one_another_end(read):
    found = read({"requirements.txt": "-r b.txt\na\n", "b.txt": "-r requirements.txt\nb\n"})
    assert [each.text for each in found.asked] == ["b", "a"]


def test_more_files_or_packages_than_anyone_needs_are_refused(read):
    chain = {f"r{n}.txt": f"-r r{n + 1}.txt\n" for n in range(60)}
    with pytest.raises(TooLargeError, match="one requirements file too many"):
        read({"requirements.txt": "-r r0.txt\n", **chain})
    with pytest.raises(TooLargeError, match=r"more than 5000"):
        read({"requirements.txt": "\n".join(f"p{n}" for n in range(6000))})


def test_utf_16_as_powershell_writes_it_is_read(read):
    found = read({"requirements.txt": "numpy==1.0\r\npandas\r\n".encode("utf-16")})
    assert [each.text for each in found.asked] == ["numpy==1.0", "pandas"]


LINES = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            ["numpy", "-r", "-c", "../", "/etc/passwd", " ", "\\\n", "#", "==", ">=1.0",
             "--hash=sha256:" + "0" * 64, "--index-url", "http://127.0.0.1", "git+", "@", "[x]",
             "python_version", "'", '"', "-e", ".", "file://", "\x00", "\t", "--", "-", "=", "é",
             "\u2028", ";", "${A}"]
        ),
        max_size=8,
    ).map("".join),
)  # fmt: skip


@given(lines=st.lists(LINES, max_size=6))
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_hostile_text_is_read_or_refused_in_one_sentence(tmp_path: Path, lines: list[str]):
    (tmp_path / "requirements.txt").write_bytes("\n".join(lines).encode(errors="surrogatepass"))
    detected = Detected(Way.LAYERED, Kind.REQUIREMENTS, "", ("requirements.txt",))
    try:
        found = read_requirements(tmp_path, detected)
    except BuildError as error:
        assert error.detail.isprintable()
        assert error.detail.endswith(".")
        return
    for each in (*found.asked, *found.constraints):
        # What is handed to uv is one line, one requirement, no option and no variable.
        assert each.text.isprintable()
        assert not each.text.startswith("-")
        assert "${" not in each.text
        assert Requirement(each.text).url is None or re.match(
            "https?://", Requirement(each.text).url
        )
    assert set(found.files) == {"requirements.txt"}
