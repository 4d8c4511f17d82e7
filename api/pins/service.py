"""Pin a manifest to what the catalog knows."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.pins.schemas import Pinned, PinnedImage, PinRequest
from api.problems import ProblemError, Slug
from api.targets import service as targets
from catalog import versions
from catalog.engine import reading
from kitbag import specs
from kitbag.refs import EnvRef


def pin(engine: Engine, kinds: specs.Kinds, asked: PinRequest) -> Pinned:
    """The pinned text; raises ProblemError, and like `api.environments.service.resolve`."""
    if asked.environment is not None and asked.image is not None:
        raise ProblemError(
            Slug.INVALID_REQUEST, "Give environment or image, not both; each names one image."
        )
    if asked.image is not None and asked.target is not None:
        raise ProblemError(
            Slug.INVALID_REQUEST, "Give image or target, not both; an image is somewhere already."
        )
    secrets: list[str] = []
    with reading(engine) as session:
        target = replace(
            _target(engine, session, asked, secrets),
            pull_secrets=tuple(dict.fromkeys(asked.pull_secrets)),
            pull_policy=asked.pull_policy,
        )

        def pin(target: specs.Target) -> specs.Pinned:
            return specs.pin(
                asked.text.encode(),
                target,
                container=asked.container,
                filename=asked.filename or "-",
                kinds=kinds,
            )

        try:
            pinned = pin(target)
            # Whose secrets are needed is known once the references in the text were resolved.
            pull_secrets = tuple(dict.fromkeys((*target.pull_secrets, *secrets)))
            if pull_secrets != target.pull_secrets:
                pinned = pin(replace(target, pull_secrets=pull_secrets))
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


def _target(
    engine: Engine, session: Session, asked: PinRequest, secrets: list[str]
) -> specs.Target:
    """What to pin; `secrets` gets the names of those that the images' target pulls with."""

    def resolve(name: str) -> str:
        found = versions.resolve(session, name)
        references = versions.references(found)
        if asked.target is not None:
            near = targets.near(engine, session, found, asked.target)
            references = near.references
            secrets.extend(filter(None, [near.target.pull_secret]))
        if asked.accelerator is not None:
            return references[versions.image_of(found, asked.accelerator).accelerator]
        return specs.Images(references)

    if asked.environment is None:
        return specs.Target(image=asked.image, resolve=resolve)
    try:
        reference = EnvRef.parse(asked.environment)
    except ValueError as error:
        raise ProblemError(Slug.INVALID_REQUEST, _sentence(f"environment: {error}")) from error
    return specs.Target(image=resolve(str(reference)), env=reference, resolve=resolve)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
