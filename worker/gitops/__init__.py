"""Rollouts to git repositories: pins are committed to a branch, or proposed as a pull request."""
