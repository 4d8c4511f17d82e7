"""Packages that are only released as source: built to a wheel once, in a container without a
network, and locked with the hash of both."""
