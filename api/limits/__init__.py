"""How often each caller may ask, counted by all replicas together."""
