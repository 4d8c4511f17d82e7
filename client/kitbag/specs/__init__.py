"""Where images live in manifests, and how to pin them there without touching another byte."""

from .accelerators import Images
from .diff import diff
from .errors import (
    AliasError,
    AmbiguousContainerError,
    BadReferenceError,
    DuplicateKeyError,
    EncodingError,
    InvalidYamlError,
    KindsError,
    RecompileError,
    SharedImageError,
    SpecError,
    TemplateError,
    TooBigError,
    TooDeepError,
    UnknownContainerError,
    WriteError,
)
from .files import expand
from .image import ImageRef
from .kinds import Kind, Kinds
from .kinds_file import builtin, extended, of_file
from .pin import images, pin
from .report import Change, Found, Pinned, PullPolicy, Resolver, Target

__all__ = [
    "AliasError",
    "AmbiguousContainerError",
    "BadReferenceError",
    "Change",
    "DuplicateKeyError",
    "EncodingError",
    "Found",
    "ImageRef",
    "Images",
    "InvalidYamlError",
    "Kind",
    "Kinds",
    "KindsError",
    "Pinned",
    "PullPolicy",
    "RecompileError",
    "Resolver",
    "SharedImageError",
    "SpecError",
    "Target",
    "TemplateError",
    "TooBigError",
    "TooDeepError",
    "UnknownContainerError",
    "WriteError",
    "builtin",
    "diff",
    "expand",
    "extended",
    "images",
    "of_file",
    "pin",
]
