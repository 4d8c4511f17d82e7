"""The Kitbag service over HTTP: one package a domain."""
