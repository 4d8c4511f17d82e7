"""Webhooks: a push, a pull request or a tag of a forge becomes a build."""
