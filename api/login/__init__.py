"""Signing in: browsers at the form or at the identity provider, and commands through a browser."""
