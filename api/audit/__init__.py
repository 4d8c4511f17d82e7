"""Who did what: a line for every request that changes something."""
