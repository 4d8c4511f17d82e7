"""Bases: the named images that environments are built on."""
