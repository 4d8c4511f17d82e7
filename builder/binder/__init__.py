"""The binder way: what needs more than Python packages, by a container engine where code must run.

apt.txt ─> a derived base ─> the layered packages ─> the repository ─> pip install, postBuild
 (engine, kept by content)      (no engine)           (no engine)        (engine, kept by content)
"""
