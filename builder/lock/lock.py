"""Lock what was detected."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from builder.choices import Choices
from builder.detect import Asked, Detected, Kind, Requirements, read_requirements
from builder.errors import EngineNeededError, InvalidSpecError
from builder.lock import pylock
from builder.lock.allowed import check_asked, check_locked
from builder.lock.given import lock_given
from builder.lock.model import DEFAULT_SEED, Target, UvSettings
from builder.lock.resolve import Resolver, with_seed
from builder.model import Accelerator, Lock

NO_CHOICES = Choices()
_TORCH = ("torch", "torchvision", "torchaudio")
_LOCKS = (Kind.PYLOCK, Kind.UV_LOCK)
_WITH_EXTRAS = (Kind.PYPROJECT, *_LOCKS)


def lock(
    checkout_root: Path,
    detected: Detected,
    target: Target,
    *,
    uv: UvSettings,
    previous: Lock | None = None,
    upgrade: bool = False,
    seed: Sequence[str] = DEFAULT_SEED,
    choices: Choices = NO_CHOICES,
    leave: Collection[str] = (),
) -> Lock:
    """Exact wheels for everything that the detected files ask for, and for the seed packages.

    Versions of `previous` are kept where they fit, unless `upgrade`. Requirements of the names in
    `leave` are left out. Raises UnresolvableError, NoWheelError, InvalidSpecError (with file
    and line), EngineNeededError, IndexUnreachableError, TooLargeError, DiskFullError,
    CancelledError and TimedOutError.
    """
    if detected.kind is Kind.BINDER:
        raise EngineNeededError(detected.why)
    _check_python(detected, target)
    _check_choices(detected, choices)
    if previous is not None and (previous.python, previous.platform) != (
        target.minor,
        target.platform,
    ):
        previous = None
    with tempfile.TemporaryDirectory(prefix="kitbag-lock-") as name:
        folder = Path(name)
        if detected.kind in _LOCKS:
            found = lock_given(checkout_root, detected, target, uv, folder, choices)
        else:
            wanted = _with_indexes(
                read_requirements(checkout_root, detected, choices.extras, choices.groups), choices
            )
            kept = tuple(each for each in wanted.asked if each.name not in leave)
            wanted = replace(wanted, asked=kept)
            users = check_asked(wanted, uv)
            # A source that replaces the index may do so with one that has not the seed packages.
            together = wanted.index_url is None and not wanted.no_index
            asked = with_seed(wanted, seed) if together else wanted

            def resolved(wanted: Requirements) -> Lock:
                made = Resolver(wanted, target, uv, folder, previous, choices, upgrade=upgrade)
                return made.lock()

            found = resolved(asked)
            for_cpu = _with_torch_for_cpu(asked, found, target, uv)
            if for_cpu is not None:
                found = resolved(for_cpu)
            if users:
                check_locked(found.wheels, uv)
        there = {wheel.name for wheel in found.wheels}
        missing = tuple(
            each for each in with_seed(Requirements(), seed).asked if each.name not in there
        )
        if not missing:
            return found
        alone = Requirements(asked=missing)
        late = Choices(exclude_newer=choices.exclude_newer)
        seeds = Resolver(alone, target, uv, folder, previous, late, upgrade=upgrade).lock()
        more = [wheel for wheel in seeds.wheels if wheel.name not in there]
        return pylock.merge(found, more, target)


def _with_indexes(wanted: Requirements, choices: Choices) -> Requirements:
    """The requirements with the indexes of the request before those of the files."""
    return replace(
        wanted,
        index_url=choices.default_index or wanted.index_url,
        extra_index_urls=(*choices.indexes, *wanted.extra_index_urls),
    )


def _with_torch_for_cpu(
    asked: Requirements, found: Lock, target: Target, uv: UvSettings
) -> Requirements | None:
    """The requirements with PyTorch's packages from the operator's index of CPU builds.

    None where it makes no difference. What others ask for is named too: uv binds to an index only
    what is asked for itself. A source that binds a package or brings its own index has its way.
    """
    url = uv.torch_cpu_index
    if url is None or target.accelerator is not Accelerator.CPU:
        return None
    if asked.index_url is not None or asked.no_index or asked.find_links:
        return None
    direct = {each.name for each in asked.asked if Requirement(each.text).url is not None}
    there = {wheel.name for wheel in found.wheels} & set(_TORCH)
    bound = there - direct - set(asked.package_indexes)
    if not bound:
        return None
    known = {each.name for each in asked.asked}
    more = tuple(Asked(name, name, "", 0) for name in sorted(bound - known))
    indexes = {**asked.package_indexes, **dict.fromkeys(bound, url)}
    return replace(asked, asked=(*asked.asked, *more), package_indexes=indexes)


def _check_choices(detected: Detected, choices: Choices) -> None:
    """Refuse choices that this source has no use for, which would be passed over in silence."""
    file = detected.files[0] if detected.files else "the source"
    if (choices.extras or choices.groups) and detected.kind not in _WITH_EXTRAS:
        raise InvalidSpecError(
            f"Extras and groups are those of a pyproject.toml, but {file} says what to install; "
            "leave them out, or remove that file."
        )
    resolves = (
        choices.indexes or choices.default_index or choices.index_strategy or choices.exclude_newer
    )
    if resolves and detected.kind in _LOCKS:
        raise InvalidSpecError(
            f"'{file}' is a lock of exact files, so indexes and exclude-newer change nothing; "
            "leave them out, or lock again with them.",
            file=file,
        )


def _check_python(detected: Detected, target: Target) -> None:
    """Refuse to lock for another Python than the source asks for; patch releases don't count."""
    asked = detected.python
    fits = asked is None or asked.split(".")[:2] == target.minor.split(".")
    if fits and detected.requires_python is not None:
        asked = detected.requires_python
        newest = target.python if target.python.count(".") == 2 else f"{target.minor}.99"
        fits = SpecifierSet(asked).contains(newest, prereleases=True)
    if not fits:
        raise InvalidSpecError(
            f"The source asks for Python {asked}, but the base has {target.python}; choose another "
            "base, or another Python in the source.",
            file=detected.files[0] if detected.files else "",
        )
