"""The launcher's list: entries come, follow their environment and go, and no other byte changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbag.specs import SpecError, WriteError
from kitbag.specs.offers import updated

OLD, NEW, OTHER = (f"registry.example:5000/hep/gan@sha256:{digit * 64}" for digit in "123")
HEAD = """\
# The operator's: keep it.\r
spawnerFormDefaults:\r
  image:
    # The default
    value: kubeflownotebookswg/jupyter-scipy:v1.9.2   # é
    options:
    - kubeflownotebookswg/jupyter-scipy:v1.9.2
    -   'kubeflownotebookswg/jupyter-pytorch:v1.9.2'  # with a remark
"""
TAIL = """\

  imageGroupOne:
    options: [a, b]
  cpu: {value: '0.5', limitFactor: "1.2"}
"""
LIST = (HEAD + TAIL).encode()


def entry(image: str, dash: str = "    -   ") -> str:
    return f"{dash}{image}\n"


def test_an_environment_that_is_offered_gets_the_last_line() -> None:
    data, ours = updated(LIST, {"hep/gan": NEW}, {})
    assert data.decode() == HEAD + entry(NEW) + TAIL
    assert ours == {"hep/gan": NEW}


def test_a_new_version_takes_the_line_of_the_old() -> None:
    before, ours = updated(LIST, {"hep/gan": OLD, "hep/other": OTHER}, {})
    data, ours = updated(before, {"hep/gan": NEW, "hep/other": OTHER}, ours)
    assert data == before.replace(OLD.encode(), NEW.encode())
    assert ours == {"hep/gan": NEW, "hep/other": OTHER}


def test_what_is_no_longer_offered_goes_and_leaves_the_file_as_it_was() -> None:
    data, ours = updated(LIST, {"hep/gan": OLD, "hep/other": OTHER}, {})
    assert updated(data, {}, ours) == (LIST, {})


def test_one_that_goes_leaves_its_line_to_one_that_comes() -> None:
    data, ours = updated(LIST, {"hep/gan": OLD}, {})
    found, ours = updated(data, {"hep/other": OTHER}, ours)
    assert found == data.replace(OLD.encode(), OTHER.encode())
    assert ours == {"hep/other": OTHER}


def test_doing_it_again_changes_nothing() -> None:
    data, ours = updated(LIST, {"hep/gan": OLD}, {})
    assert updated(data, {"hep/gan": OLD}, ours) == (data, ours)


def test_what_the_operator_listed_is_left_to_them() -> None:
    theirs = b"- kubeflownotebookswg/jupyter-scipy:v1.9.2"
    by_hand = LIST.replace(theirs, b"- " + OLD.encode())
    assert by_hand != LIST
    assert updated(by_hand, {"hep/gan": OLD}, {}) == (by_hand, {})
    assert updated(by_hand, {}, {}) == (by_hand, {})


def test_an_entry_that_somebody_took_out_comes_back_while_it_is_offered() -> None:
    data, ours = updated(LIST, {"hep/gan": OLD}, {})
    assert updated(LIST, {"hep/gan": OLD}, ours) == (data, ours)


def test_a_list_at_the_end_of_a_file_without_a_line_end() -> None:
    text = b"spawnerFormDefaults:\n  image:\n    options:\n    - a"
    data, ours = updated(text, {"hep/gan": OLD}, {})
    assert data == text + f"\n    - {OLD}".encode()
    assert updated(data, {}, ours) == (text, {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "spawnerFormDefaults: {}",
        "spawnerFormDefaults:\n  image:\n    options:\n",
        "spawnerFormDefaults:\n  image:\n    options: [a, b]\n",
        "spawnerFormDefaults:\n  image:\n    options:\n    - - a\n",
        "spawnerFormDefaults:\n  image:\n    options:\n    - &x\n      a\n",
        "spawnerFormDefaults:\n  image: {{ images }}\n",
        "a: 1\n---\nb: 2\n",
    ],
)
def test_what_has_no_plain_list_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        updated(text.encode(), {"hep/gan": OLD}, {})


def test_the_last_entry_of_all_stays() -> None:
    text = f"spawnerFormDefaults:\n  image:\n    options:\n    - {OLD}\n"
    with pytest.raises(WriteError, match="would be empty"):
        updated(text.encode(), {}, {"hep/gan": OLD})


NAMES = st.sampled_from([f"hep/{name}" for name in "abcd"])
OFFERS = st.dictionaries(NAMES, st.integers(0, 9)).map(
    lambda found: {env: f"r.example/{env}@sha256:{n:064}" for env, n in found.items()}
)


@given(st.lists(OFFERS, min_size=1, max_size=6))
def test_however_often_it_changes_the_rest_is_the_operators(history: list[dict[str, str]]) -> None:
    data, ours = LIST, {}
    for offers in history:
        data, ours = updated(data, offers, ours)
        assert ours == offers
        assert all(data.count(image.encode()) == 1 for image in offers.values())
    assert updated(data, {}, ours) == (LIST, {})
