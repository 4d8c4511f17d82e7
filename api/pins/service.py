"""Pin a manifest to what the catalog knows."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.pins.schemas import Pinned, PinnedImage, PinRequest
from api.problems import ProblemError, Slug
from catalog import versions
from catalog.engine import reading
from kitbag import specs
from kitbag.refs import EnvRef


def pin(engine: Engine, kinds: specs.Kinds, asked: PinRequest) -> Pinned:
    """The pinned text; raises ProblemError, EnvironmentNotFoundError or VersionNotFoundError."""
    if asked.environment is not None and asked.image is not None:
        raise ProblemError(
            Slug.INVALID_REQUEST, "Give environment or image, not both; each names one image."
        )
    with reading(engine) as session:
        target = replace(
            _target(session, asked),
            pull_secrets=tuple(dict.fromkeys(asked.pull_secrets)),
            pull_policy=asked.pull_policy,
        )
        try:
            pinned = specs.pin(
                asked.text.encode(),
                target,
                container=asked.container,
                filename=asked.filename or "-",
                kinds=kinds,
            )
        except specs.SpecError as error:
            place: dict[str, str | int] = {"file": error.file}
            if error.line:
                place["line"] = error.line
            raise ProblemError(Slug.SPEC_REFUSED, _sentence(error.sentence), about=place) from error
        except ValueError as error:
            raise ProblemError(Slug.INVALID_REQUEST, _sentence(f"image: {error}")) from error
    return Pinned(
        text=pinned.data.decode(),
        changes=[PinnedImage.of(change) for change in pinned.changes],
        notes=[*pinned.skipped, *pinned.notes],
    )


def _target(session: Session, asked: PinRequest) -> specs.Target:
    def resolve(name: str) -> str:
        found = versions.resolve(session, name)
        if asked.accelerator is not None:
            return versions.image_of(found, asked.accelerator).reference
        return specs.Images(versions.references(found))

    if asked.environment is None:
        return specs.Target(image=asked.image, resolve=resolve)
    try:
        reference = EnvRef.parse(asked.environment)
    except ValueError as error:
        raise ProblemError(Slug.INVALID_REQUEST, _sentence(f"environment: {error}")) from error
    return specs.Target(image=resolve(str(reference)), env=reference, resolve=resolve)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
