"""Environments, their versions, and what a name stands for."""
