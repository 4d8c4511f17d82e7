"""Rollouts: objects of the cluster that get each new version of an environment."""
