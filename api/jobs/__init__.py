"""Jobs: verifications and rebases, which take longer than an answer waits."""
