"""Which Python the base `auto` gets for a source that only says what it can do with."""

from __future__ import annotations

import pytest

from worker.bases import python_for


@pytest.mark.parametrize(
    ("requires_python", "chosen"),
    [
        (None, None),
        (">=3.9", "3.11"),
        (">=3.11.4", "3.11"),
        (">=3.12", "3.12"),
        (">3.12,<3.14", "3.12"),
        ("<3.11", "3.10"),
        (">=3.13,!=3.13.0", "3.13"),
        ("<3", None),
        ("what ever", None),
    ],
)
def test_the_first_python_that_the_source_allows_is_chosen(
    requires_python: str | None, chosen: str | None
) -> None:
    assert python_for(requires_python) == chosen
