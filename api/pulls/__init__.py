"""Pulling images out of the OCI layout: the read-only half of the distribution specification."""
