"""Tokens of people and namespaces: made, listed, revoked; and who a caller is."""
