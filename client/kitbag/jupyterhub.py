"""Environments where a JupyterHub starts notebooks: a profile list and a pre-spawn hook.

For KubeSpawner (zero-to-jupyterhub), in `jupyterhub_config.py`:

    from kitbag.jupyterhub import Launcher

    kitbag = Launcher(shared=["hep"])
    c.KubeSpawner.profile_list = kitbag.profile_list
    c.KubeSpawner.pre_spawn_hook = kitbag.pre_spawn_hook

Neither JupyterHub nor KubeSpawner is imported: a spawner is whatever has `user.name`,
`user_options` and `environment`.
"""

from __future__ import annotations

import asyncio
import copy
import html
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from kitbag.client import Client
from kitbag.errors import KitbagError
from kitbag.refs import SCHEME, EnvRef
from kitbag.versions import Version

log = logging.getLogger(__name__)

Profile = dict[str, Any]
Json = Mapping[str, Any]

ENVIRONMENT = "KITBAG_ENVIRONMENT"
URL = "KITBAG_URL"
KALE_IMAGE = "KALE_DEFAULT_BASE_IMAGE"
OPTION = "accelerator"
"""The name of the choice between the images of one version."""
_TIMEOUT_S = 10.0


class NotOfferedError(KitbagError):
    """An image or profile that this user may not start, or that can't be had now.

    JupyterHub shows `jupyterhub_message` to the user.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.jupyterhub_message = message


def own_namespace(user: str) -> Sequence[str]:
    """The namespace that is called like the user; none for a name that no namespace can have.

    Such a name is not bent into one: two users would meet in it.
    """
    try:
        return [EnvRef.parse(f"{user}/x").namespace]
    except ValueError:
        return []


class Launcher:
    """What a hub offers of one Kitbag server, and to whom.

    A user is offered the environments of `namespaces(USER)` and those of `shared`. `profiles` are
    the operator's own, before them; their `kitbag://` images are resolved, whatever namespace
    they are of. `overrides` adds a `kubespawner_override` for an accelerator, such as
    {"cuda": {"extra_resource_limits": {"nvidia.com/gpu": "1"}}}. `url` and `token` are those of
    `Client`; `notebook_url` is where notebooks reach the server, if that is elsewhere.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        namespaces: Callable[[str], Iterable[str]] = own_namespace,
        shared: Iterable[str] = ("default",),
        profiles: Sequence[Json] = (),
        overrides: Mapping[str, Json] | None = None,
        notebook_url: str | None = None,
    ) -> None:
        self._client = Client(url, token, timeout_s=_TIMEOUT_S)
        self._namespaces, self._shared = namespaces, tuple(shared)
        self._profiles, self._overrides = tuple(profiles), dict(overrides or {})
        self._notebook_url = notebook_url or self._client.url
        # A spawner lives as long as the hub: the next start must resolve its reference anew.
        self._resolved: WeakKeyDictionary[Any, tuple[str, str]] = WeakKeyDictionary()

    def __deepcopy__(self, _memo: object) -> Launcher:
        """Itself: JupyterHub copies its configuration deeply, bound methods too, for every user."""
        return self

    async def profile_list(self, spawner: Any) -> list[Profile]:  # noqa: ANN401 - a hub's
        """The operator's profiles, then one for each environment with a version, by name.

        The slug is NS.NAME, for its latest version; NS.NAME.VERSION starts that version, and is
        listed where the user asked for it. Raises NotOfferedError where the server is away and
        nothing can be shown, or where what the user starts is among what can't.
        """
        user = str(spawner.user.name)
        wanted = str((spawner.user_options or {}).get("profile") or "")
        try:
            return await asyncio.to_thread(self._listed, user, wanted)
        except KitbagError as error:
            mine = [copy.deepcopy(dict(profile)) for profile in self._profiles]
            known = any(one.get("slug") == wanted for one in mine) if wanted else True
            starting = getattr(spawner, "pending", None) == "spawn"
            if not mine or _holds_reference(mine) or (starting and not known):
                raise NotOfferedError(f"Kitbag's environments can't be offered: {error}") from error
            log.warning("Only the hub's own profiles are offered: %s", error)
            return mine

    async def pre_spawn_hook(self, spawner: Any) -> None:  # noqa: ANN401 - a hub's
        """Give the spawner's `kitbag://` image its digest, and its variables to the notebook.

        The image is that of `spawner.image`, or of the user's option `image` for spawners that
        start what it says. Raises NotOfferedError for an environment of others.
        """
        user, given = str(spawner.user.name), getattr(spawner, "image", None)
        image = self._asked(spawner, given)
        options = spawner.user_options or {}
        chosen = options.get("image")
        variables: dict[str, str] = {URL: self._notebook_url}
        for value in (image, chosen):
            if isinstance(value, str) and value.startswith(SCHEME):
                found, more = await asyncio.to_thread(self._resolve, user, value)
                variables |= more
                if value == image:
                    spawner.image = found
                    self._resolved[spawner] = (value, found)
                if value == chosen:
                    spawner.user_options = {**options, "image": found}
        # A new mapping: what the last start left is gone, and nobody else's is touched.
        stays = {key: value for key, value in spawner.environment.items() if key not in _OURS}
        spawner.environment = stays | variables

    def _asked(self, spawner: Any, image: Any) -> Any:  # noqa: ANN401 - a trait of any type
        """The image as it was configured: not the digest that the last start put in its place."""
        reference, digest = self._resolved.get(spawner, (None, None))
        return reference if reference is not None and image == digest else image

    def _listed(self, user: str, wanted: str) -> list[Profile]:
        listed = [self._own(profile) for profile in self._profiles]
        for namespace in self._allowed(user):
            found = self._client.environments(namespace=namespace)
            listed += [self._profile(one.latest) for one in found if one.latest is not None]
        if wanted and all(profile.get("slug") != wanted for profile in listed):
            asked = self._version(user, wanted)
            listed += [self._profile(asked, slug=wanted)] if asked else []
        return listed

    def _allowed(self, user: str) -> list[str]:
        return list(dict.fromkeys([*self._namespaces(user), *self._shared]))

    def _version(self, user: str, slug: str) -> Version | None:
        """The version that a slug names, None for none and for those of others."""
        try:
            ref = EnvRef.parse_label(slug)
        except ValueError:
            return None
        if ref.namespace not in self._allowed(user):
            return None
        try:
            return self._client.version(str(ref))
        except KitbagError as error:
            if error.problem is None or error.problem.status != _NOT_FOUND:
                raise
            return None

    def _profile(self, version: Version, slug: str | None = None) -> Profile:
        images = {image.accelerator: image.reference for image in version.images}
        made: Profile = {
            "slug": slug or version.environment.replace("/", "."),
            "display_name": version.name if slug else version.environment,
            "description": html.escape(_described(version)),
            "kubespawner_override": self._override(version, version.image, version.accelerator),
        }
        if len(images) > 1:
            made["profile_options"] = {
                OPTION: {
                    "display_name": "For",
                    "choices": {
                        name: {
                            "display_name": name,
                            "default": name == version.accelerator,
                            "kubespawner_override": self._override(version, image, name),
                        }
                        for name, image in images.items()
                    },
                }
            }
            made["kubespawner_override"] = {}  # the choices have it all
        return made

    def _override(self, version: Version, image: str, accelerator: str | None) -> Profile:
        more = copy.deepcopy(dict(self._overrides.get(accelerator or "", {})))
        environment = dict(more.pop("environment", {})) | _variables(version.name, image)
        return more | {"image": image, "environment": environment}

    def _own(self, profile: Json) -> Profile:
        """An operator's profile, with the images that its references stand for."""
        made: Profile = copy.deepcopy(dict(profile))
        for override in _overrides(made):
            image = override.get("image")
            if isinstance(image, str) and image.startswith(SCHEME):
                found = self._client.resolve(image)
                override["image"] = found.image
                named = _variables(f"{found.environment}:{found.version}", found.image)
                override["environment"] = dict(override.get("environment") or {}) | named
        return made

    def _resolve(self, user: str, reference: str) -> tuple[str, dict[str, str]]:
        """The image of a reference, and the variables of a notebook on it."""
        try:
            ref = EnvRef.parse(reference)
            if ref.namespace not in self._allowed(user):
                raise NotOfferedError(
                    f"{user} may not start {ref}: choose an environment of your own, or have the"
                    " hub's operator share that namespace"
                )
            found = self._client.resolve(str(ref))
        except (KitbagError, ValueError) as error:
            raise NotOfferedError(str(error)) from error
        return found.image, _variables(f"{found.environment}:{found.version}", found.image)


_OURS = frozenset({URL, ENVIRONMENT, KALE_IMAGE})
_NOT_FOUND = 404


def _variables(name: str, image: str) -> dict[str, str]:
    """What the notebook says of itself: `kitbag capture` and Kale read it."""
    return {ENVIRONMENT: name, KALE_IMAGE: image}


def _described(version: Version) -> str:
    python = f", Python {version.python}" if version.python else ""
    size_mb = version.size_bytes / 1_000_000
    packages = "1 package" if version.packages == 1 else f"{version.packages} packages"
    return f"version {version.number}{python}, {packages}, {size_mb:.0f} MB"


def _overrides(profile: Profile) -> list[dict[str, Any]]:
    """Every `kubespawner_override` of a profile: its own, and those of its choices."""
    holders = [profile]
    for option in (profile.get("profile_options") or {}).values():
        holders += (option.get("choices") or {}).values()
    found = [holder.get("kubespawner_override") for holder in holders]
    return [override for override in found if isinstance(override, dict)]


def _holds_reference(profiles: Iterable[Profile]) -> bool:
    overrides = [override for profile in profiles for override in _overrides(profile)]
    return any(str(override.get("image", "")).startswith(SCHEME) for override in overrides)


_default: list[Launcher] = []


def _launcher() -> Launcher:
    """The launcher of a hub that configures nothing but variables: KITBAG_URL, KITBAG_TOKEN and
    KITBAG_SHARED, namespaces separated by commas."""
    if not _default:
        shared = os.environ.get("KITBAG_SHARED", "default").split(",")
        _default.append(Launcher(shared=[name.strip() for name in shared if name.strip()]))
    return _default[0]


async def profile_list(spawner: Any) -> list[Profile]:  # noqa: ANN401 - a hub's
    """`Launcher().profile_list`, for a hub that is configured by variables alone."""
    return await _launcher().profile_list(spawner)


async def pre_spawn_hook(spawner: Any) -> None:  # noqa: ANN401 - a hub's
    """`Launcher().pre_spawn_hook`, for a hub that is configured by variables alone."""
    await _launcher().pre_spawn_hook(spawner)
