"""Bases: the images that environments are built on, pinned by digest and looked into once."""
