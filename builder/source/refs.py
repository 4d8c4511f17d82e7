"""What a ref of a git repository stands for, and that commit's objects."""

from __future__ import annotations

import re

from builder.errors import BuildError, RefNotFoundError, SourceNotFoundError
from builder.source.gitcommand import Git
from builder.source.model import GitSource, SourcePolicy
from builder.source.url import GitUrl, read_url

_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{7,63}")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/.]|[/.]$|\.lock$")
_MAX_REF_CHARS = 255


def resolve_commit(source: GitSource, policy: SourcePolicy) -> str:
    """The commit that `source` means now, by one question to the server where that is enough.

    A full commit is taken at its word, `fetch` finds out whether it is there. Only an abbreviated
    one that is no tip of a branch or tag needs the history (without files).
    """
    with Git(read_url(source.url, policy), policy) as git:
        return resolve(git, source.ref)[0]


def resolve(git: Git, ref: str | None) -> tuple[str, str | None]:
    """The commit and, where there is one, the full name of its branch or tag."""
    git.must("init", "--quiet")
    if ref is None or ref == "HEAD":
        return _default_branch(git)
    name = ref.strip()
    odd = not name.isprintable() or _BAD_REF.search(name) is not None
    if not name or len(name) > _MAX_REF_CHARS or odd:
        raise RefNotFoundError(
            f"{name[:60]!r} is no name of a branch, tag or commit; check the ref."
        )
    lowered = name.lower()
    if _FULL.fullmatch(lowered):
        return lowered, None
    candidates = [name] if name.startswith("refs/") else [f"refs/heads/{name}", f"refs/tags/{name}"]
    listed = _list(git, *candidates, *(f"{each}^{{}}" for each in candidates))
    for each in candidates:
        # An annotated tag is listed twice: the tag object, then `^{}` the commit it stands for.
        commit = listed.get(f"{each}^{{}}") or listed.get(each)
        if commit:
            return commit, each
    if _SHORT.fullmatch(lowered):
        return _expand(git, lowered), None
    raise RefNotFoundError(
        f"{git.url.text} has no branch, tag or commit '{name}'; check the ref.", ref=name
    )


def _default_branch(git: Git) -> tuple[str, str | None]:
    lines = git.must("ls-remote", "--symref", "--", git.url.text, "HEAD").decode(errors="replace")
    ref: str | None = None
    for line in lines.splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: "):
            ref = value.removeprefix("ref: ")
        elif name == "HEAD":
            return value, ref
    raise SourceNotFoundError(f"{git.url.text} has no commit yet; push one, then build.")


def _list(git: Git, *patterns: str) -> dict[str, str]:
    lines = git.must("ls-remote", "--", git.url.text, *patterns).decode(errors="replace")
    pairs = (line.partition("\t") for line in lines.splitlines())
    return {name: commit for commit, _, name in pairs}


def _expand(git: Git, short: str) -> str:
    """The one commit that begins with `short`: among the tips, else in all history."""
    listed = _list(git, "HEAD", "refs/heads/*", "refs/tags/*")
    tips = {commit for name, commit in listed.items() if commit.startswith(short)}
    # A tag object may match as well as a commit, so that only one match is an answer.
    if len(tips) == 1 and not any(
        f"{name}^{{}}" in listed for name in listed if listed[name] in tips
    ):
        return tips.pop()
    # A repository of its own: one without files can't be fetched into any more.
    with Git(git.url, git.policy) as history:
        history.must("init", "--quiet")
        _fetch_history(history)
        ran = history("rev-parse", "--verify", "--quiet", "--end-of-options", f"{short}^{{commit}}")
    if ran.status:
        raise RefNotFoundError(
            f"{git.url.text} has no single branch, tag or commit '{short}'; give the full commit.",
            ref=short,
        )
    return ran.out.decode().strip()


def _fetch_history(git: Git) -> None:
    """All commits of all branches and tags, with files only if the server can't leave them out."""
    everything = ("--quiet", "--no-tags", "--", git.url.text,
                  "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")  # fmt: skip
    git.must("fetch", "--update-head-ok", "--filter=tree:0", *everything)


def download(git: Git, commit: str, ref: str | None) -> None:
    """One commit with its files: by its hash, else by its ref, else with the whole history."""
    options = ("--quiet", "--no-tags", "--no-recurse-submodules", "--update-head-ok")
    ran = git("fetch", "--depth=1", *options, "--", git.url.text, commit)
    if ran.status == 0:
        return
    failure = git.explain(ran)
    if not isinstance(failure, RefNotFoundError):
        raise failure
    if ref is not None:
        git.must("fetch", "--depth=1", *options, "--", git.url.text, ref)
    if not _has(git, commit):
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        git.must("fetch", "--refetch", *options, "--", git.url.text, *refs)
    if not _has(git, commit):
        raise _no_commit(git.url, commit)


def _has(git: Git, commit: str) -> bool:
    return git("cat-file", "-e", f"{commit}^{{tree}}").status == 0


def _no_commit(url: GitUrl, commit: str) -> BuildError:
    return RefNotFoundError(
        f"{url.text} has no commit {commit[:12]} on any branch or tag; check the ref.", ref=commit
    )
