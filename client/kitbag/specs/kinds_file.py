"""Tables of kinds in files: the one that comes with Kitbag, and an operator's before it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from . import path as paths
from .errors import KindsError
from .kinds import Choose, Form, Kind, Kinds, Part, Place, Refusal, join
from .lives_file import Lives, rules
from .nodes import Mapping, Node, Scalar, Sequence, real
from .read import read
from .source import Source

_PLACE_WORDS = {"shape", "at", "named", "choose", "expect", "insert", "parts"}


@lru_cache(maxsize=1)
def builtin() -> Kinds:
    """The table that comes with Kitbag."""
    file = Path(__file__).with_name("kinds.yaml")
    return _load(file.read_bytes(), file.name)


def extended(kinds: Kinds, data: bytes, filename: str = "-") -> Kinds:
    """A table with an operator's rows before its own (the format is kinds.yaml's).

    Raises KindsError with file and line.
    """
    more = _load(data, filename)
    return Kinds(
        more.rows + kinds.rows, kinds.injected | more.injected, kinds.platform + more.platform
    )


def _load(data: bytes, filename: str) -> Kinds:
    source = Source(data, filename)
    reader = TableReader(source)
    roots = read(source)
    if len(roots) != 1:
        raise KindsError(filename, 1, "a table of kinds is one YAML document")
    top = reader.mapping(roots[0], {"injected", "platform", "shapes", "lives", "kinds"})
    shapes = {
        name: reader.places(node, {}) for name, node in reader.mapping(top.get("shapes")).items()
    }
    lives = {
        name: rules(reader, node, {}) for name, node in reader.mapping(top.get("lives")).items()
    }
    rows = tuple(reader.row(node, shapes, lives) for node in reader.items(top.get("kinds")))
    return Kinds(
        rows, frozenset(reader.texts(top.get("injected"))), reader.texts(top.get("platform"))
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

    def row(self, node: Node, shapes: dict[str, tuple[Place, ...]], lives: Lives) -> Kind:
        words = {"name", "kind", "group", "version", "has", "files", "places", "refuse", "live"}
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
        )

    def refusal(self, node: Node) -> Refusal:
        found = self.mapping(node, {"at", "say"})
        if set(found) != {"at", "say"}:
            raise self.bad(node, "a refusal needs 'at' and 'say'")
        return Refusal(self.path(found["at"]), self.text(found["say"]))

    def places(self, node: Node | None, shapes: dict[str, tuple[Place, ...]]) -> tuple[Place, ...]:
        return tuple(place for item in self.items(node) for place in self.place(item, shapes))

    def place(self, node: Node, shapes: dict[str, tuple[Place, ...]]) -> list[Place]:
        forms = {form.value for form in Form}
        found = self.mapping(node, forms | _PLACE_WORDS)
        if "shape" in found:
            shape = shapes.get(self.text(found["shape"]))
            if shape is None or set(found) != {"shape", "at"}:
                raise self.bad(node, "'shape' names one of the shapes above, and needs 'at'")
            at = self.path(found["at"])
            return [replace(place, at=join(at, place.at)) for place in shape]
        named = [form for form in Form if form.value in found]
        if len(named) != 1:
            raise self.bad(node, f"a place needs exactly one of {', '.join(sorted(forms))}")
        form = named[0]
        choose = self.text(found["choose"]) if "choose" in found else Choose.ONLY.value
        if choose not in {word.value for word in Choose}:
            raise self.bad(found["choose"], "'choose' is only, first or all")
        insert = self.text(found["insert"]) if "insert" in found else None
        if insert not in (None, "true", "false"):
            raise self.bad(found["insert"], "'insert' is true or false")
        if (form is Form.SPLIT) != ("parts" in found):
            raise self.bad(node, "'split' needs 'parts', and nothing else does")
        return [
            Place(
                form,
                self.path(found[form.value]),
                named=self.texts(found.get("named")),
                choose=Choose(choose),
                expect=self.text(found["expect"]) if "expect" in found else None,
                insert=(form is not Form.IMAGE) if insert is None else insert == "true",
                parts=tuple(self.part(*pair) for pair in self.mapping(found.get("parts")).items()),
            )
        ]

    def part(self, key: str, node: Node) -> tuple[str, Part]:
        words = {part.value: part for part in Part}
        text = self.text(node)
        if text not in words:
            raise self.bad(node, f"a part is one of {', '.join(words)}")
        return key, words[text]
