"""What is decided about an object before it is kept."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from anyio import move_on_after, sleep, to_thread
from sqlalchemy.exc import SQLAlchemyError

from api.admission import candidate
from api.admission.book import Book, CatalogAwayError
from api.admission.book import at as key_of
from api.admission.patch import at, operations
from api.admission.policy import Policy
from api.admission.schemas import Answer, Object, Operation, Result, ReviewRequest, Wait
from api.admission.waiting import ANNOTATION as WAIT
from api.admission.waiting import NotReadyError, Waiting
from catalog.errors import CatalogError, NotMirroredError
from kitbag import specs
from kitbag.refs import SCHEME, EnvRef

_POLL_S = 0.2
_LONG_CHARS = 50_000  # a thread's worth of reading, in which others would wait
_AWAY = (
    "Kitbag's catalog does not answer, and what {} stands for is not known from before; apply this "
    "again in a moment."
)
_NOT_DEFAULTED = "The environment of this namespace, {}, is not used: {}"
_STALE = "Kitbag's catalog does not answer: {} is what it was when it last did, {}"


@dataclass(slots=True)
class _Refusal(Exception):  # noqa: N818 - an answer, not an error
    message: str
    code: int = 403


@dataclass(slots=True)
class _Unasked(Exception):  # noqa: N818 - a signal to ask and come again
    name: str


@dataclass(slots=True)
class _Case:
    """One review on its way: what was asked for it, and what its user is to be told."""

    request: ReviewRequest
    deadline: float
    wait: Wait
    target: str = ""
    began: float = field(default_factory=time.monotonic)
    default: EnvRef | None = None
    """What the namespace gives to an object that asks for nothing."""
    images: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Admission:
    """The decisions of one server; `wait` is what objects wait for that do not say it."""

    def __init__(
        self, book: Book, policy: Policy, waiting: Waiting, kinds: specs.Kinds, wait: Wait
    ) -> None:
        self._book = book
        self._policy = policy
        self._waiting = waiting
        self._kinds = kinds
        self._wait = wait

    async def mutate(
        self,
        request: ReviewRequest,
        *,
        deadline: float,
        default: EnvRef | None = None,
        target: str = "",
    ) -> Answer:
        """Digests for what the object asks for; it waits until `deadline` (time.monotonic).

        `default` is for what users run that asks for nothing; it never is a reason to refuse it.
        `target` is where the object's cluster pulls from, empty for the server's own store.
        """
        # A debug container is not the user's, and with it nothing else of a pod can change.
        if not self._concerns(request) or request.subResource:
            return Answer()
        assert request.object is not None
        seen = candidate.looked_at(request.object, self._kinds.keep)
        text = candidate.text_of(seen)
        if not candidate.asks(text) and (default is None or not candidate.is_run(request.kind)):
            return Answer()
        if SCHEME not in text and self._is_settled(request, seen):
            return Answer()
        if not candidate.asks(text):
            return await self._defaulted(
                _Case(request, deadline, self._wait, target, default=default), seen, text
            )
        try:
            case = _Case(request, deadline, self._wait_of(request.object), target)
            return await self._pinned(case, seen, text)
        except _Refusal as refusal:
            return Answer.refused(refusal.message, refusal.code)

    async def _defaulted(self, case: _Case, seen: Object, text: str) -> Answer:
        """The namespace's environment for images that name no digest, or a warning."""
        try:
            answer = await self._pinned(case, seen, text)
        except _Refusal as refusal:
            return Answer(warnings=[_NOT_DEFAULTED.format(case.default, refusal.message)])
        todo = candidate.inexact(answer.operations)
        return replace(answer, operations=todo) if todo else Answer()

    def _is_settled(self, request: ReviewRequest, seen: Object) -> bool:
        """Whether what the annotations ask for was answered when something else was reviewed."""
        assert request.object is not None
        if candidate.is_owned(request.object):
            return True
        return request.oldObject is not None and candidate.is_untouched(
            seen, request.oldObject, self._kinds.keep
        )

    async def validate(self, request: ReviewRequest) -> Answer:
        """Refuse an image that was not built here and is not on the list of those that may run."""
        if not self._concerns(request):
            return Answer()
        for container, image in self._running(request):
            if self._policy.lets_run(image):
                continue
            if not candidate.has_digest(image):
                return Answer.refused(_not_ours(container, image, "it names no digest"))
            try:
                built = await self._book.is_built(image.rpartition("@")[2])
            except CatalogAwayError:
                return Answer.refused(
                    f"Kitbag's catalog does not answer, so it can't be told whether {image} of "
                    f"container {container!r} was built by it; apply this again in a moment.",
                    503,
                )
            if not built:
                return Answer.refused(_not_ours(container, image, "no build made this digest"))
        return Answer()

    def _running(self, request: ReviewRequest) -> Sequence[tuple[str, str]]:
        """The containers and images that an update of the object would newly run."""
        assert request.object is not None
        before = set(self._images(request.oldObject, request)) if request.oldObject else set()
        return [pair for pair in self._images(request.object, request) if pair not in before]

    def _images(self, obj: Object, request: ReviewRequest) -> list[tuple[str, str]]:
        if (request.kind.group, request.kind.kind) == ("", "Pod"):
            keys = ("initContainers", "containers", "ephemeralContainers")
            lists = [at(obj, f"/spec/{key}") for key in keys]
            containers = [each for found in lists if isinstance(found, list) for each in found]
            return [(str(at(each, "/name")), str(at(each, "/image") or "")) for each in containers]
        try:
            found = specs.images(
                candidate.text_of(candidate.looked_at(obj, self._kinds.keep)).encode(),
                kinds=self._kinds,
            )
        except specs.SpecError:
            return []  # its pods are looked at, one by one
        # What is not there or filled in later comes with the pods too.
        return [
            (each.container or each.path, each.image)
            for each in found
            if each.image and not re.search(r"[{}$]|^kitbag:", each.image)
        ]

    def _concerns(self, request: ReviewRequest) -> bool:
        return (
            request.operation in (Operation.CREATE, Operation.UPDATE)
            and request.object is not None
            and request.subResource in ("", "ephemeralcontainers")
            # Its finalizers must go, whatever it would run.
            and at(request.object, "/metadata/deletionTimestamp") is None
            and not self._policy.exempts(request.namespace)
        )

    def _wait_of(self, obj: Object) -> Wait:
        asked = candidate.annotation(obj, WAIT)
        if asked is None:
            return self._wait
        try:
            return Wait(asked)
        except ValueError:
            raise _Refusal(
                f"The annotation {WAIT} is {asked[:40]!r}; write {', '.join(Wait)}.", 422
            ) from None

    async def _pinned(self, case: _Case, seen: Object, text: str) -> Answer:
        """Pin with what is known; whatever is not known yet is asked for, and all begins again."""
        used: dict[str, str] = {}

        def resolve(name: str) -> str:
            used[name] = self._image(case, name)
            return used[name]

        def pin() -> specs.Pinned:
            used.clear()
            target = specs.Target(resolve=resolve)
            if case.default is not None:
                target = specs.Target(image=resolve(str(case.default)), env=case.default)
            return specs.pin(text.encode(), target, kinds=self._kinds)

        while True:
            try:
                pinned = pin() if len(text) < _LONG_CHARS else await to_thread.run_sync(pin)
                break
            except _Unasked as missing:
                await self._ask(case, missing.name)
            except specs.SpecError as error:
                raise _Refusal(_sentence(error), 422) from error
        self._book.renew(key_of(case.target, name) for name in used)
        if not pinned.changes:
            return Answer()
        changes = operations(seen, json.loads(pinned.data))
        todo = candidate.due(changes, case.request, seen)
        if not todo:
            return Answer()
        warnings = [*case.warnings, *(_without_line(note) for note in pinned.notes)]
        return Answer(Result.PINNED, operations=todo, warnings=warnings, pinned=used)

    def _image(self, case: _Case, name: str) -> str:
        wanted = EnvRef.parse(name)
        # Who registers webhooks chose the default.
        allowed = wanted == case.default or self._policy.allows(wanted, case.request.namespace)
        if not allowed:
            raise _Refusal(
                f"{wanted.environment} belongs to {wanted.namespace}, and namespace "
                f"{case.request.namespace} may not use it; use an environment of your own, or ask "
                f"the operator to allow '{case.request.namespace}={wanted.environment}' "
                "(KITBAG_ADMISSION_ALLOW)."
            )
        if name in case.images:
            return case.images[name]
        known = self._book.fresh(key_of(case.target, name)) if case.wait is Wait.NEVER else None
        if known is None:
            raise _Unasked(name)
        return known.image

    async def _ask(self, case: _Case, name: str) -> None:
        wanted, dry_run, since = EnvRef.parse(name), case.request.dryRun, case.began
        try:
            if case.wait is not Wait.NEVER:
                await self._settle(case, wanted, dry_run=dry_run)
                since = time.monotonic()
            image, current = await self._near(case, name, since)
        except (NotReadyError, NotMirroredError) as error:
            raise _Refusal(str(error), 503) from error
        except CatalogError as error:
            raise _Refusal(str(error), 422) from error
        except CatalogAwayError:
            raise _Refusal(_AWAY.format(name), 503) from None
        if not current:
            case.warnings.append(_STALE.format(name, image.rpartition("@")[2]))
        case.images[name] = image

    async def _near(self, case: _Case, name: str, since: float) -> tuple[str, bool]:
        """What the book says; objects that wait for builds wait for the copy of one too."""
        while True:
            try:
                return await self._book.ask(key_of(case.target, name), since=since)
            except NotMirroredError:
                if case.wait is Wait.NEVER or time.monotonic() + _POLL_S > case.deadline:
                    raise
            await sleep(_POLL_S)

    async def _settle(self, case: _Case, wanted: EnvRef, *, dry_run: bool) -> None:
        # A catalog that went away meanwhile: the book says what is known, and that it may be old.
        with suppress(SQLAlchemyError), move_on_after(case.deadline - time.monotonic() + 0.5):
            await self._waiting.settle(wanted, case.wait, deadline=case.deadline, dry_run=dry_run)


def _not_ours(container: str, image: str, why: str) -> str:
    return (
        f"Container {container!r} may not run {image[:300] or 'no image'}: {why}, and this "
        "namespace runs only what Kitbag built; use kitbag://NAMESPACE/NAME, or ask the operator "
        "to allow the image (KITBAG_ADMISSION_IMAGES)."
    )


def _sentence(error: specs.SpecError) -> str:
    text = error.sentence
    if isinstance(error, specs.AmbiguousContainerError):
        text = (
            f"{text.rpartition(';')[0]}; name yours in the pod template's annotation "
            "kubectl.kubernetes.io/default-container"
        )
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _without_line(note: str) -> str:
    """Lines mean nothing to whoever wrote the object in another form."""
    return re.sub(r"^line \d+: ", "", note)
