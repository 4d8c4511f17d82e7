"""Tables of kinds in files: the one that comes with Kitbag, and an operator's before it."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from . import path as paths
from .accelerators import Accelerators
from .errors import KindsError, SpecError
from .kinds import Choose, Form, Kind, Kinds, Part, Place, Refusal, join
from .lives_file import Lives, rules
from .nodes import Mapping, Node, Scalar, Sequence, real
from .read import read
from .source import Source

_PLACE_WORDS = {
    "shape", "at", "named", "choose", "expect", "insert", "parts", "prefix", "holds", "secrets",
    "secret_names", "policy", "platform",
}  # fmt: skip
_IMAGE_POLICY = "imagePullPolicy"
_TEMPLATE_SECRETS = "spec.imagePullSecrets"


@lru_cache(maxsize=1)
def builtin() -> Kinds:
    """The table that comes with Kitbag."""
    file = Path(__file__).with_name("kinds.yaml")
    return _load(file.read_bytes(), file.name, {})


def extended(kinds: Kinds, data: bytes, filename: str = "-") -> Kinds:
    """A table with an operator's rows before its own (the format is kinds.yaml's).

    Raises KindsError with file and line.
    """
    more = _load(data, filename, kinds.shapes)
    return Kinds(
        more.rows + kinds.rows,
        kinds.injected | more.injected,
        kinds.platform + more.platform,
        {**kinds.shapes, **more.shapes},
        Accelerators(
            more.accelerators.names + kinds.accelerators.names,
            more.accelerators.resources + kinds.accelerators.resources,
        ),
    )


def of_file(path: Path | None) -> Kinds:
    """The builtin table, behind an operator's file where there is one.

    Raises KindsError, also for a file that can't be read.
    """
    if path is None:
        return builtin()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KindsError(str(path), 0, f"can't be read: {error.strerror}") from None
    try:
        return extended(builtin(), data, str(path))
    except KindsError:
        raise
    except SpecError as error:
        raise KindsError(error.file, error.line, error.sentence) from None


def _load(data: bytes, filename: str, known: Map[str, tuple[Place, ...]]) -> Kinds:
    source = Source(data, filename)
    reader = TableReader(source)
    roots = read(source)
    if len(roots) != 1:
        raise KindsError(filename, 1, "a table of kinds is one YAML document")
    words = {"injected", "platform", "accelerators", "resources", "shapes", "lives", "kinds"}
    top = reader.mapping(roots[0], words)
    own = reader.mapping(top.get("shapes"))
    shapes = dict(known)
    # A text may hold a shape that is described further down.
    for _ in range(2):
        for name, node in own.items():
            shapes[name] = reader.places(node, {**dict.fromkeys(own, ()), **shapes})
    lives = {
        name: rules(reader, node, {}) for name, node in reader.mapping(top.get("lives")).items()
    }
    rows = tuple(reader.row(node, shapes, lives) for node in reader.items(top.get("kinds")))
    return Kinds(
        rows,
        frozenset(reader.texts(top.get("injected"))),
        reader.texts(top.get("platform")),
        shapes,
        Accelerators(
            tuple(
                (beginning, name)
                for name, node in reader.mapping(top.get("accelerators")).items()
                for beginning in reader.texts(node)
            ),
            tuple(reader.path(node) for node in reader.items(top.get("resources"))),
        ),
    )


class TableReader:
    """Reads the table's YAML, and refuses what the table has no word for."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def bad(self, node: Node, sentence: str) -> KindsError:
        return KindsError(self.source.filename, self.source.line(node.start), sentence)

    def mapping(self, node: Node | None, known: set[str] | None = None) -> dict[str, Node]:
        if node is None:
            return {}
        found = real(node)
        if not isinstance(found, Mapping):
            raise self.bad(node, "a mapping is expected here")
        result: dict[str, Node] = {}
        for key, value in found.pairs:
            name = key.text if isinstance(key, Scalar) else None
            if name is None or (known is not None and name not in known):
                words = ", ".join(sorted(known or ()))
                raise self.bad(key, f"{name!r} means nothing here; known words: {words}")
            result[name] = value
        return result

    def items(self, node: Node | None) -> list[Node]:
        if node is None:
            return []
        found = real(node)
        if not isinstance(found, Sequence):
            raise self.bad(node, "a list is expected here")
        return found.items

    def text(self, node: Node) -> str:
        found = real(node)
        if not isinstance(found, Scalar) or found.text is None:
            raise self.bad(node, "one short text is expected here")
        return found.text

    def texts(self, node: Node | None) -> tuple[str, ...]:
        """A text, or a list of texts."""
        if node is None:
            return ()
        if isinstance(real(node), Scalar):
            return (self.text(node),)
        return tuple(self.text(item) for item in self.items(node))

    def path(self, node: Node) -> str:
        text = self.text(node)
        try:
            paths.parse(text)
        except ValueError as error:
            raise self.bad(node, str(error)) from None
        return text

    def row(self, node: Node, shapes: Map[str, tuple[Place, ...]], lives: Lives) -> Kind:
        words = {
            "name", "kind", "group", "version", "has", "files", "places", "refuse", "note", "live",
        }  # fmt: skip
        row = self.mapping(node, words)
        kinds = self.texts(row.get("kind"))
        if bool(kinds) == ("has" in row):
            raise self.bad(node, "a row needs either 'kind' and 'group', or 'has'")
        if kinds and "group" not in row:
            raise self.bad(node, "a row with 'kind' needs 'group' ('' is the core group)")
        if not kinds and "name" not in row:
            raise self.bad(node, "a row with 'has' needs a 'name'")
        return Kind(
            name=self.text(row["name"]) if "name" in row else kinds[0],
            kinds=frozenset(kinds),
            groups=frozenset(self.texts(row.get("group"))),
            versions=frozenset(self.texts(row.get("version"))),
            has=tuple(self.path(item) for item in self.items(row.get("has"))),
            files=self.texts(row.get("files")),
            places=self.places(row.get("places"), shapes),
            refuse=tuple(self.refusal(item) for item in self.items(row.get("refuse"))),
            live=rules(self, row.get("live"), lives),
            note=self.text(row["note"]) if "note" in row else None,
            table=self.source.filename,
        )

    def refusal(self, node: Node) -> Refusal:
        found = self.mapping(node, {"at", "say"})
        if set(found) != {"at", "say"}:
            raise self.bad(node, "a refusal needs 'at' and 'say'")
        return Refusal(self.path(found["at"]), self.text(found["say"]))

    def places(self, node: Node | None, shapes: Map[str, tuple[Place, ...]]) -> tuple[Place, ...]:
        return tuple(place for item in self.items(node) for place in self.place(item, shapes))

    def place(self, node: Node, shapes: Map[str, tuple[Place, ...]]) -> list[Place]:
        forms = {form.value for form in Form}
        found = self.mapping(node, forms | _PLACE_WORDS)
        if "shape" in found:
            shape = shapes.get(self.text(found["shape"]))
            if shape is None or set(found) != {"shape", "at"}:
                raise self.bad(node, "'shape' names one of the shapes above, and needs 'at'")
            return [below(self.path(found["at"]), place) for place in shape]
        named = [form for form in Form if form.value in found]
        if len(named) != 1:
            raise self.bad(node, f"a place needs exactly one of {', '.join(sorted(forms))}")
        form = named[0]
        choose = self.text(found["choose"]) if "choose" in found else Choose.ONLY.value
        if choose not in {word.value for word in Choose}:
            raise self.bad(
                found["choose"], f"'choose' is one of {', '.join(word.value for word in Choose)}"
            )
        insert = self.text(found["insert"]) if "insert" in found else None
        if insert not in (None, "true", "false"):
            raise self.bad(found["insert"], "'insert' is true or false")
        if (form is Form.SPLIT) != ("parts" in found):
            raise self.bad(node, "'split' needs 'parts', and nothing else does")
        if "prefix" in found and form is not Form.IMAGE:
            raise self.bad(found["prefix"], "only an 'image' has a 'prefix'")
        if "secrets" in found and "secret_names" in found:
            raise self.bad(node, "'secrets' and 'secret_names' exclude each other")
        return [
            Place(
                form,
                self.path(found[form.value]),
                named=self.texts(found.get("named")),
                choose=Choose(choose),
                expect=self.text(found["expect"]) if "expect" in found else None,
                insert=(form is not Form.IMAGE) if insert is None else insert == "true",
                parts=tuple(self.part(*pair) for pair in self.mapping(found.get("parts")).items()),
                prefix=self.text(found["prefix"]) if "prefix" in found else "",
                holds=self.holds(form, found.get("holds"), shapes),
                secrets=self.secrets(form, found),
                plain="secret_names" in found,
                policy=self.policy(form, found.get("policy")),
                platform=self.path(found["platform"]) if "platform" in found else None,
            )
        ]

    def holds(
        self, form: Form, node: Node | None, shapes: Map[str, tuple[Place, ...]]
    ) -> tuple[Place, ...]:
        """The places in a text; those of an object of the table need no word."""
        if node is None:
            return ()
        if form is not Form.TEXT:
            raise self.bad(node, "only a 'text' holds anything")
        places: list[Place] = []
        for name in self.texts(node):
            if name != "object" and name not in shapes:
                raise self.bad(node, f"{name!r} is neither 'object' nor one of the shapes")
            places += shapes.get(name, ())
        return tuple(places)

    def secrets(self, form: Form, found: dict[str, Node]) -> str | None:
        """The place of pull secrets; a list is reached by keys alone, so that it can be added."""
        node = found.get("secrets", found.get("secret_names"))
        if node is None:
            return _TEMPLATE_SECRETS if form is Form.TEMPLATE else None
        path = self.path(node)
        if not path or not all(
            isinstance(step, paths.Key) and step.name for step in paths.parse(path)
        ):
            raise self.bad(node, "the way to pull secrets is keys with dots between")
        return path

    def policy(self, form: Form, node: Node | None) -> str | None:
        if node is None:
            return (
                _IMAGE_POLICY if form in (Form.TEMPLATE, Form.CONTAINERS, Form.CONTAINER) else None
            )
        text = self.text(node)
        return None if text == "none" else text

    def part(self, key: str, node: Node) -> tuple[str, Part]:
        words = {part.value: part for part in Part}
        text = self.text(node)
        if text not in words:
            raise self.bad(node, f"a part is one of {', '.join(words)}")
        return key, words[text]


def below(at: str, place: Place) -> Place:
    """A shape's place under a path; a template's secrets are the template's already."""
    secrets = place.secrets
    if secrets and place.form is not Form.TEMPLATE:
        secrets = join(at, secrets)
    platform = join(at, place.platform) if place.platform else None
    return replace(place, at=join(at, place.at), secrets=secrets, platform=platform)
