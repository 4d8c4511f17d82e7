"""git push alone makes the next version: a real push, a post-receive hook, a real server."""

from __future__ import annotations

import json
import sys
import time

from e2e.servers import Embedded
from rig.git import GitServer
from rig.wheels import WheelFactory

# What a forge does after a push, in the words of Gitea's webhooks.
POST_RECEIVE = """#!{python}
import hashlib, hmac, json, os, subprocess, sys, urllib.request
for line in sys.stdin:
    before, after, ref = line.split()
    listed = subprocess.run(
        ["git", "diff", "--name-only", before, after], capture_output=True, text=True
    ).stdout.split()
    payload = json.dumps({{
        "ref": ref, "before": before, "after": after, "total_commits": 1,
        "commits": [{{"id": after, "modified": listed}}],
        "repository": {{"full_name": "repo", "clone_url": {url!r}}},
    }}).encode()
    mac = hmac.new({secret!r}.encode(), payload, hashlib.sha256).hexdigest()
    request = urllib.request.Request({hook!r}, payload, {{
        "Content-Type": "application/json", "X-Gitea-Event": "push",
        "X-Gitea-Delivery": after, "X-Gitea-Signature": mac,
    }})
    urllib.request.urlopen(request, timeout=30).read()
"""


def resolved(embedded: Embedded, name: str, timeout_s: float = 60) -> int:
    """The version of that name, once there is one."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        done = embedded.kitbag("resolve", name, "--json")
        if done.returncode == 0:
            return int(json.loads(done.stdout)["version"])
        time.sleep(0.2)
    raise AssertionError(done.stderr)


def test_git_push_alone_moves_the_environment(
    embedded: Embedded, index: WheelFactory, git_server: GitServer
) -> None:
    for name in ("pushed-one", "pushed-two"):
        index.wheel(name, "1.0")
    repository = git_server.repository("pushed", {"requirements.txt": "pushed-one\n"})
    url = repository.http_url
    made = embedded.kitbag("hook", "add", "hep/pushed", url, "--forge", "gitea", "--json")
    assert made.returncode == 0, made.stderr
    hook = json.loads(made.stdout)
    script = repository.path / "hooks" / "post-receive"
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        POST_RECEIVE.format(python=sys.executable, url=url, secret=hook["secret"], hook=hook["url"])
    )
    script.chmod(0o755)

    first = repository.commit({"notes.md": "a first push\n"})
    assert resolved(embedded, f"hep/pushed:{first}") == 1
    second = repository.commit({"notes.md": "nothing that matters\n"})
    assert resolved(embedded, f"hep/pushed:{second}") == 1
    third = repository.commit({"requirements.txt": "pushed-one\npushed-two\n"})
    assert resolved(embedded, f"hep/pushed:{third}") == 2
    assert resolved(embedded, "hep/pushed:main") == 2
