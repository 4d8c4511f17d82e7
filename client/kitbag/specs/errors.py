"""What can be wrong with a manifest; each error is one sentence that says where and what to do."""

from __future__ import annotations


class SpecError(ValueError):
    """A file that cannot be pinned; `file` and `line` (1-based, 0 when there is none) say where."""

    def __init__(self, file: str, line: int, sentence: str) -> None:
        self.file = file
        self.line = line
        self.sentence = sentence
        super().__init__(f"{file}:{line}: {sentence}" if line else f"{file}: {sentence}")


class InvalidYamlError(SpecError):
    """The text is not YAML (or JSON)."""


class TemplateError(SpecError):
    """The text is a template (Helm, Jinja, Go) that something else must render first."""


class DuplicateKeyError(SpecError):
    """A mapping says the same key twice, so what it means depends on the reader."""


class TooDeepError(SpecError):
    """Collections are nested deeper than any manifest needs."""


class TooBigError(SpecError):
    """The file, or the number of values in it, is over the limit."""


class EncodingError(SpecError):
    """The bytes are not UTF-8."""


class AliasError(SpecError):
    """Aliases would expand the file to far more than it holds, or one holds itself."""


class SharedImageError(SpecError):
    """One image scalar serves several places through an alias, and only some are to change."""


class AmbiguousContainerError(SpecError):
    """Two or more containers could be the user's, and nothing says which."""


class UnknownContainerError(SpecError):
    """The container that was asked for is not in the file."""


class RecompileError(SpecError):
    """The file is compiler output whose images are baked into strings."""


class WriteError(SpecError):
    """The place of an image is there, but a reference cannot be written into it safely."""


class BadReferenceError(SpecError):
    """A `kitbag://` reference or a `kitbag.dev/environment` value that names no environment."""


class KindsError(SpecError):
    """A table of kinds that breaks its own rules."""
