"""From a source to an image in a registry: a library with no web, queue or database."""
