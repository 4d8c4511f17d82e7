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


MEASURED = (1, 12, 18, 35, 60, 94, 142, 238, 431, 900, 1_400, 2_900, 7_100, 14_000, 38_000)
"""KiB: about what every twentieth wheel of real-wheels.txt has, from the smallest up."""


@st.composite
def realistic(draw: st.DrawFn) -> list[LockedWheel]:
    """10 to 1,000 packages whose sizes are spread as those of real wheels are."""
    rng = draw(st.randoms(use_true_random=False))
    count = draw(st.sampled_from([10, 30, 100, 300, 1000]))
    return [
        a_wheel(f"package-{n}", int(rng.choice(MEASURED) * rng.uniform(700, 1400)))
        for n in range(count)
    ]


def changed(before: list[LockedWheel], after: list[LockedWheel], base: int) -> list[Group]:
    """What a node that has the first environment must fetch for the second."""
    there = contents(group(before, base))
    return [each for each in group(after, base) if each.wheels not in there]


@given(wheels=realistic(), size=SIZES, base=st.integers(1, 20), data=st.data())
@settings(max_examples=60, deadline=None)
def test_at_any_size_one_package_changes_its_own_layer_and_those_of_one_at_the_border(
    wheels: list[LockedWheel], size: int, base: int, data: st.DataObject
) -> None:
    own = data.draw(st.sampled_from(wheels))
    others = [wheel for wheel in wheels if wheel is not own]
    new = replace(own, version="2.0", sha256="new", size_bytes=size)
    full = sum(wheel.size_bytes >= ALONE_BYTES for wheel in [*wheels, new]) > room(base)
    for before, after in ((others, wheels), (wheels, others), (wheels, [*others, new])):
        found = changed(before, after, base)
        elsewhere = [
            each
            for each in found
            if not {own, new} & set(each.wheels) and each.bucket != bucket_of(own.name)
        ]
        assert len(group(after, base)) + base + OWN_LAYERS <= MAX_LAYERS
        # A wheel at the border comes out of a bucket or goes into one: that bucket, and itself.
        assert len(elsewhere) <= (2 if full else 0), elsewhere
        assert len(found) <= (4 if full else 2)
        alone = [each.wheels[0] for each in elsewhere if each.bucket is None]
        assert len(alone) <= 1


def test_the_room_on_a_base_of_one_layer_is_92_large_wheels() -> None:
    wheels = [a_wheel(f"large-{n}", ALONE_BYTES + n) for n in range(93)]
    assert all(each.bucket is None for each in group(wheels[1:], 1))
    *alone, last = group(wheels, 1)
    assert (last.bucket, last.wheels) == (bucket_of("large-0"), (wheels[0],))
    assert [each.wheels[0] for each in alone] == wheels[:0:-1]


def test_a_base_with_too_many_layers_is_refused_with_a_reason() -> None:
    group([], 93)
    with pytest.raises(TooLargeError, match="flatten"):
        group([], 94)


def test_buckets_are_where_they_were_in_every_release() -> None:
    known = {"numpy": 19, "pandas": 14, "requests": 12, "six": 4, "a": 10}
    assert {name: bucket_of(name) for name in known} == known
