"""How much of the service each one may use, and uses."""
