"""Targets: registries near other clusters, and the copies of versions in them."""
