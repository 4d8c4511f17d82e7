"""The layer index stays quick: few places of a blob, and every question goes by an index."""

from __future__ import annotations

import re

from sqlalchemy import event

from catalog import layers
from catalog.engine import reading, writing
from catalog.layers import Place


def test_of_a_blob_that_lies_everywhere_a_few_places_are_noted_and_the_newest_come_first(shop):
    with writing(shop.engine) as session:
        layers.place(session, [Place("d1", "s", f"r{number:02}") for number in range(5)])
    for number in range(5, 100):
        with writing(shop.engine) as session:
            layers.place(session, [Place("d1", "s", f"r{number:02}"), Place("d2", "s", "x")])
    with writing(shop.engine) as session:
        noted = layers.places(session, ["d1", "d2"], "s")
        assert len(noted["d1"]) == layers.MAX_PLACES
        assert noted["d1"][:3] == ["r07", "r06", "r05"]
        assert noted["d2"] == ["x"]
        layers.forget(session, [Place("d1", "s", "r00")])
        layers.place(session, [Place("d1", "s", "r99")])
        assert layers.places(session, ["d1"], "s")["d1"][0] == "r99"


def test_layers_are_noted_in_one_statement_and_the_last_result_of_a_key_wins(shop):
    def made(key, digest):
        return layers.KnownLayer(key, digest, f"plain {digest}", 7, "gzip")

    with writing(shop.engine) as session:
        layers.record(session, [made("k2", "old"), made("k1", "x")])
    asked = []
    event.listen(shop.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    with writing(shop.engine) as session:
        layers.record(session, [made("k2", "new"), made("k3", "first"), made("k3", "last")])
        layers.record(session, [])
    assert len([statement for statement in asked if statement.startswith("INSERT")]) == 1
    with reading(shop.engine) as session:
        found = layers.known(session, ["k1", "k2", "k3"])
    assert {key: layer.digest for key, layer in found.items()} == {
        "k1": "x",
        "k2": "new",
        "k3": "last",
    }


def test_the_layer_index_is_asked_by_its_keys_and_read_nowhere_from_end_to_end(shop, url):
    asked = []
    event.listen(shop.engine, "before_cursor_execute", lambda *args: asked.append(args[2:4]))
    with reading(shop.engine) as session:
        layers.known(session, ["k1", "k2"])
        layers.places(session, ["d1", "d2"], "s")
    with writing(shop.engine) as session:
        layers.place(session, [Place("d1", "s", "r")])
        layers.forget(session, [Place("d1", "s", "r")])
    wanted = [item for item in asked if "layer" in item[0] and not item[0].startswith("INSERT")]
    assert len(wanted) == 4
    with shop.engine.connect() as connection:
        if url.startswith("postgresql"):
            # A few rows are read faster without: the question is whether it could.
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in wanted:
            explain = "EXPLAIN" if url.startswith("postgresql") else "EXPLAIN QUERY PLAN"
            rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
            plan = "\n".join(str(row[-1]) for row in rows)
            assert not re.search(r"^SCAN|Seq Scan", plan, re.MULTILINE), plan
            assert re.search(r"pk_layer|sqlite_autoindex_layer", plan), plan
