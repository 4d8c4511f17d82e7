"""Links that end in a running notebook: build what is missing, then go where notebooks start."""
