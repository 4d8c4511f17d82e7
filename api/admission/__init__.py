"""Admission: what a Kubernetes API server asks before it keeps an object."""
