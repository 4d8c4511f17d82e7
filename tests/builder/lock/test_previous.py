"""A lock that starts from the last one asks the index only for what is new."""

from __future__ import annotations

from builder.model import Lock


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


def test_what_the_last_lock_holds_is_kept_until_it_is_upgraded(wheel_factory, lock_files):
    wheel_factory.wheel("top", "1.0")
    wheel_factory.wheel("more", "1.0")
    first = lock_files({"requirements.txt": "top\n"})
    wheel_factory.wheel("top", "2.0")
    kept = lock_files({"requirements.txt": "top\nmore\n"}, previous=first)
    assert versions(kept) == {"top": "1.0", "more": "1.0"}
    moved = lock_files({"requirements.txt": "top\nmore\n"}, previous=kept, upgrade=True)
    assert versions(moved) == {"top": "2.0", "more": "1.0"}


def test_with_a_last_lock_only_what_is_new_is_asked_of_the_index(wheel_factory, lock_files):
    for name in ("one", "two", "three"):
        wheel_factory.wheel(name, requires=["shared"])
    wheel_factory.wheel("shared")
    first = lock_files({"requirements.txt": "one\ntwo\n"})
    wheel_factory.requests.clear()
    assert lock_files({"requirements.txt": "one\ntwo\n"}, previous=first).text == first.text
    assert wheel_factory.requests == []
    second = lock_files({"requirements.txt": "one\ntwo\nthree\n"}, previous=first)
    assert versions(second) == versions(first) | {"three": "1.0"}
    pages = [path for path in wheel_factory.requests if path.startswith("/simple/")]
    assert set(pages) == {"/simple/three/", "/simple/shared/"}


def test_a_version_newer_than_the_cached_page_is_found(wheel_factory, lock_files):
    wheel_factory.wheel("top", "1.0")
    first = lock_files({"requirements.txt": "top\n"})
    wheel_factory.wheel("top", "2.0")
    again = lock_files({"requirements.txt": "top>=2\n"}, previous=first)
    assert versions(again) == {"top": "2.0"}
    wheel_factory.wheel("user", "1.0", requires=["top>=3"])
    wheel_factory.wheel("top", "3.0")
    pulled = lock_files({"requirements.txt": "top\nuser\n"}, previous=again)
    assert versions(pulled) == {"top": "3.0", "user": "1.0"}


def test_a_new_extra_of_a_known_package_gets_the_newest_of_what_it_adds(wheel_factory, lock_files):
    wheel_factory.wheel("speed", "1.0")
    wheel_factory.wheel("base", extras=["fast"], requires=["speed; extra == 'fast'"])
    first = lock_files({"requirements.txt": "base\n"})
    lock_files({"requirements.txt": "speed\n"})
    wheel_factory.wheel("speed", "2.0")
    second = lock_files({"requirements.txt": "base[fast]\n"}, previous=first)
    assert versions(second) == {"base": "1.0", "speed": "2.0"}


def test_a_lock_for_another_python_is_not_built_upon(wheel_factory, lock_files):
    wheel_factory.wheel("top", "1.0")
    first = lock_files({"requirements.txt": "top"}, "3.12")
    wheel_factory.wheel("top", "2.0")
    assert versions(lock_files({"requirements.txt": "top"}, "3.11", previous=first)) == {
        "top": "2.0"
    }
