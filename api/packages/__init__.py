"""Packages: which environments hold them."""
