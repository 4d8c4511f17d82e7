"""Which wheels share a layer: never too many layers, and a small change changes one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import TooLargeError
from builder.layers.group import (
    ALONE_BYTES,
    BUCKETS,
    MAX_LAYERS,
    OWN_LAYERS,
    Group,
    bucket_of,
    group,
    ladder_step,
)
from builder.model import LockedWheel


def a_wheel(name: str, size_bytes: int, version: str = "1.0") -> LockedWheel:
    return LockedWheel(
        name, version, f"{name}.whl", f"http://x/{name}", f"{name}{version}", size_bytes
    )


SIZES = st.one_of(
    st.integers(0, ALONE_BYTES - 1),
    st.integers(ALONE_BYTES, 600 << 20),
    st.sampled_from([0, 1, ALONE_BYTES - 1, ALONE_BYTES, 2 * ALONE_BYTES, 1 << 40]),
)


@st.composite
def environments(draw: st.DrawFn, max_size: int = 60) -> list[LockedWheel]:
    sizes = draw(st.lists(SIZES, max_size=max_size))
    return [a_wheel(f"package-{number}", size) for number, size in enumerate(sizes)]


def room(base_layers: int) -> int:
    return MAX_LAYERS - OWN_LAYERS - BUCKETS - base_layers


def contents(groups: list[Group]) -> set[tuple[LockedWheel, ...]]:
    return {each.wheels for each in groups}


@given(
    count=st.integers(0, 1000), size=SIZES, spread=st.integers(0, 5 << 20), base=st.integers(1, 40)
)
@settings(max_examples=60, deadline=None)
def test_there_are_at_most_127_layers_and_every_wheel_is_in_one(
    count: int, size: int, spread: int, base: int
) -> None:
    wheels = [a_wheel(f"package-{n}", size + n * spread) for n in range(count)]
    groups = group(wheels, base)
    assert len(groups) + base + OWN_LAYERS <= MAX_LAYERS
    found = [wheel for each in groups for wheel in each.wheels]
    assert sorted(found, key=lambda w: w.name) == sorted(wheels, key=lambda w: w.name)


@given(wheels=environments(), data=st.data())
def test_the_order_of_a_lock_does_not_matter(
    wheels: list[LockedWheel], data: st.DataObject
) -> None:
    assert group(data.draw(st.permutations(wheels)), 1) == group(wheels, 1)


@given(wheels=environments(), size=SIZES)
def test_a_package_more_or_less_changes_its_own_group_alone(
    wheels: list[LockedWheel], size: int
) -> None:
    """With fewer large wheels than there is room for, which 60 always are on a small base."""
    more = a_wheel("one-more", size)
    without, with_it = contents(group(wheels, 1)), contents(group([*wheels, more], 1))
    changed = with_it - without
    assert len(changed) == 1
    assert more in next(iter(changed))
    gone = without - with_it
    assert len(gone) <= 1
    assert all(set(group_) < set(next(iter(changed))) for group_ in gone)


@given(wheels=environments().filter(bool), size=SIZES, data=st.data())
def test_an_upgrade_changes_its_own_group_and_where_it_crosses_a_megabyte_its_bucket_too(
    wheels: list[LockedWheel], size: int, data: st.DataObject
) -> None:
    old = data.draw(st.sampled_from(wheels))
    new = replace(old, version="2.0", sha256="new", size_bytes=size)
    before = contents(group(wheels, 1))
    after = contents(group([new if each is old else each for each in wheels], 1))
    crossed = (old.size_bytes < ALONE_BYTES) != (size < ALONE_BYTES)
    changed = after - before
    assert len(changed) <= (2 if crossed else 1)
    assert all(
        new in each or all(bucket_of(w.name) == bucket_of(new.name) for w in each)
        for each in changed
    )


@given(wheels=environments(200), base=st.integers(1, 93))
@settings(deadline=None)
def test_more_moves_only_when_the_ladder_takes_a_step(wheels: list[LockedWheel], base: int) -> None:
    more = a_wheel("one-more", 700 << 20)
    steps = ladder_step(wheels, room(base)), ladder_step([*wheels, more], room(base))
    changed = contents(group([*wheels, more], base)) - contents(group(wheels, base))
    if steps[0] == steps[1]:
        assert len(changed) == 1
    else:
        large = sum(wheel.size_bytes >= steps[0] for wheel in wheels)
        assert large == room(base), "a step is taken exactly when the room was full"


def test_the_room_on_a_base_of_one_layer_is_92_large_wheels() -> None:
    wheels = [a_wheel(f"large-{n}", ALONE_BYTES) for n in range(93)]
    assert ladder_step(wheels[:92], room(1)) == ALONE_BYTES
    assert ladder_step(wheels, room(1)) == 2 * ALONE_BYTES


def test_a_base_with_too_many_layers_is_refused_with_a_reason() -> None:
    group([], 93)
    with pytest.raises(TooLargeError, match="flatten"):
        group([], 94)


def test_buckets_are_where_they_were_in_every_release() -> None:
    known = {"numpy": 19, "pandas": 14, "requests": 12, "six": 4, "a": 10}
    assert {name: bucket_of(name) for name in known} == known
