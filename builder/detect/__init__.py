"""Which files of a source say what its environment is, and which way of building they ask for."""

from builder.detect.accelerators import Variant, declared
from builder.detect.detect import detect
from builder.detect.model import Asked, Buildpack, Detected, Kind, Requirements
from builder.detect.read import read_requirements

__all__ = [
    "Asked",
    "Buildpack",
    "Detected",
    "Kind",
    "Requirements",
    "Variant",
    "declared",
    "detect",
    "read_requirements",
]
