"""Prometheus metrics, every label from a bounded set."""
