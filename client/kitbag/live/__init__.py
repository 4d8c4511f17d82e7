"""Objects in a cluster: what runs in them, and how each kind gets another image.

The decision is pure (`decide`); a `Cluster` is the way to the API server. The command and the
server's workers share both.
"""

from .decide import Action, Choices, Decision, Wanted, decide

__all__ = ["Action", "Choices", "Decision", "Wanted", "decide"]
