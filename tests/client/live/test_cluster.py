"""What is told of an API server that answers something else than the API."""

from __future__ import annotations

import httpx
import pytest
from rig.http import QuietHandler, serve

from kitbag.live.cluster import AwayError, Cluster, Ref


def test_what_a_proxy_says_of_a_server_that_is_away_becomes_one_sentence() -> None:
    class Away(QuietHandler):
        def answer(self) -> None:
            body = b"dial tcp 127.0.0.1:8080:\n  connect: connection refused\n"
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with (
        serve(Away) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as http,
        pytest.raises(AwayError) as told,
    ):
        Cluster(http).get(Ref("v1", "Pod", "hep", "one"))
    assert str(told.value) == (
        "the cluster's API server can't answer now (dial tcp 127.0.0.1:8080: connect: connection "
        "refused): ask again later"
    )
