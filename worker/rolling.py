"""Takes a version to what one rollout is of; the catalog says which and keeps what became.

Each object is decided anew from what it is at that moment, and server-side apply refuses an object
that has changed since: doing a run twice, or half of it again, does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

from catalog import mirrors, rollouts
from catalog.engine import reading, writing
from catalog.errors import LostRolloutError, NotMirroredError, TargetNotFoundError
from catalog.rollout_models import RolloutRun
from catalog.rollouts import Outcome
from kitbag import specs
from kitbag.live import Choices, Wanted
from kitbag.live.change import Result, change
from kitbag.live.cluster import Cluster, Person
from kitbag.live.connect import connect
from kitbag.live.errors import AwayError, ClusterError
from kitbag.live.find import labelled, named
from kitbag.live.objects import Ref
from kitbag.refs import EnvRef
from worker import identity
from worker.gitops.roll import GitopsError, GitRoll
from worker.services import Services
from worker.settings import ActsAs

log = logging.getLogger(__name__)

SILENT = timedelta(minutes=10)
"""Longer than one object can take, with an API server that answers each request at its limit."""
_LONGEST_S = 600.0


def due(kit: Services) -> list[int]:
    """The runs whose time has come; those of dead workers on this machine at once."""
    cluster = bool(kit.settings.cluster)
    with reading(kit.engine) as session:
        found = list(rollouts.due(session, SILENT, cluster=cluster))
        running = rollouts.running(session, cluster=cluster)
        found += [run for run, worker in running if identity.is_dead(worker)]
    return list(dict.fromkeys(found))


def roll(kit: Services, run_id: int) -> None:
    """Do a run that is due; nothing if somebody else does it, or an older one of its rollout."""
    with writing(kit.engine) as session:
        theirs = dict(rollouts.running(session)).get(run_id)
        dead = identity.is_dead(theirs)
        run = rollouts.claim(session, run_id, identity.me(), SILENT, dead=dead)
    if run is None:
        return
    try:
        _ToGit(kit, run).go() if run.rollout.git is not None else _Roll(kit, run).go()
    except LostRolloutError:
        log.info("run %s of a rollout is no longer this worker's", run_id)


class _Run:
    """A run of this worker: its signs of life, what became of it, when it is tried again."""

    def __init__(self, kit: Services, run: RolloutRun) -> None:
        self._kit, self._run, self._rollout = kit, run, run.rollout

    def _is_newest(self) -> bool:
        """Say that the worker lives; raises LostRolloutError."""
        with writing(self._kit.engine) as session:
            return rollouts.beat(session, self._run.id, self._run.attempt)

    def _record(self, outcome: Outcome) -> None:
        with writing(self._kit.engine) as session:
            rollouts.record(session, self._run.id, self._run.attempt, outcome)

    def _finish(self, *, again: bool, superseded: bool = False, problem: str = "") -> None:
        wait_s = min(self._kit.settings.rollout_retry_s * 2 ** min(self._run.tries, 16), _LONGEST_S)
        with writing(self._kit.engine) as session:
            rollouts.finish(
                session,
                self._run.id,
                self._run.attempt,
                again_in=timedelta(seconds=wait_s) if again else None,
                superseded=superseded,
                problem=problem,
            )


class _ToGit(_Run):
    """A run to a git repository."""

    def go(self) -> None:
        """Commit or propose the pins; whatever is in the way is tried again later."""
        try:
            outcomes = GitRoll(self._kit, self._run, self._is_newest).go()
        except (GitopsError, specs.KindsError, NotMirroredError, TargetNotFoundError) as error:
            return self._finish(again=True, problem=str(error))
        with writing(self._kit.engine) as session:
            rollouts.forget_results(session, self._run.id, self._run.attempt)
            for outcome in outcomes or ():
                rollouts.record(session, self._run.id, self._run.attempt, outcome)
        return self._finish(again=False, superseded=outcomes is None)


class _Roll(_Run):
    """A run to objects of the cluster."""

    def __init__(self, kit: Services, run: RolloutRun) -> None:
        super().__init__(kit, run)
        self._choice = Choices(
            restart=self._rollout.restart,
            clone=self._rollout.clone,
            named=bool(self._rollout.objects),
            container=self._rollout.container,
        )

    def go(self) -> None:
        """Change every object, and say when to come again for those that are left."""
        try:
            self._wanted = self._what()
            self._kinds = specs.of_file(self._kit.settings.kinds)
            with connect(self._kit.settings.cluster) as http:
                states = list(self._changed(Cluster(http, self._person())))
        except (
            *(AwayError, specs.KindsError),
            *(NotMirroredError, TargetNotFoundError),
        ) as error:
            return self._finish(again=True, problem=str(error))
        except ClusterError as error:
            return self._finish(again=False, problem=str(error))
        if None in states:
            return self._finish(again=False, superseded=True)
        return self._finish(again=any(one.state.again for one in states if one))

    def _what(self) -> Wanted:
        """The version as this cluster pulls it.

        Raises TargetNotFoundError, and NotMirroredError until it can.
        """
        version, at = self._run.version, self._kit.settings.cluster_target
        ref = EnvRef.parse(f"{self._rollout.environment.full_name}:{self._run.number}")
        with reading(self._kit.engine) as session:
            successors = rollouts.successors(session, version)
            if not at:
                return Wanted(version.image, ref, successors)
            near = mirrors.near(session, version, at)
        there = {
            digest: None if image is None else near.named(image)
            for digest, image in successors.items()
        }
        return Wanted(near.named(version.image), ref, there)

    def _changed(self, cluster: Cluster) -> Iterator[Result | None]:
        """What became of each object; None, and no more, once there is a newer version."""
        for ref in self._refs(cluster):
            if not self._is_newest():
                yield None
                return
            result = change(
                cluster,
                ref,
                self._wanted,
                self._choice,
                force=self._rollout.force_conflicts,
                kinds=self._kinds,
            )
            self._record(_outcome(result))
            yield result

    def _refs(self, cluster: Cluster) -> Iterator[Ref]:
        namespace = self._rollout.namespace
        for one in self._rollout.objects:
            yield named(cluster, one["kind"], namespace, one["name"], kinds=self._kinds)
        if not self._rollout.objects:
            yield from labelled(cluster, namespace, self._rollout.selector, kinds=self._kinds)

    def _person(self) -> Person:
        """Whoever asked for the rollout, or the service account of the environment's namespace."""
        settings, rollout = self._kit.settings, self._rollout
        if settings.cluster_acts_as is ActsAs.USER:
            if not rollout.acts_as:  # without a name the worker would be itself
                raise ClusterError(
                    "it was registered when rollouts were the service account's: remove it, and add"
                    " it again as the user that it is to act as"
                )
            return Person(rollout.acts_as)
        return Person.service_account(rollout.environment.namespace, settings.cluster_account)


def _outcome(result: Result) -> Outcome:
    ref = result.ref
    return Outcome(
        ref.api_version,
        ref.kind,
        ref.name,
        result.state.value,
        result.say,
        result.before,
        result.copy,
    )
