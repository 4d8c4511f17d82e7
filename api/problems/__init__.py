"""Problems: what every error of the API looks like (RFC 9457)."""

from api.problems.kinds import Slug
from api.problems.model import Problem, ProblemError, complete
from api.problems.responses import declared, unreadable

__all__ = ["Problem", "ProblemError", "Slug", "complete", "declared", "unreadable"]
