"""What was installed on the fly, as a new version of the environment."""

from .capture import Capture, Difference, look
from .image import Image, image
from .installed import Installed, Origin, installed

__all__ = ["Capture", "Difference", "Image", "Installed", "Origin", "image", "installed", "look"]
