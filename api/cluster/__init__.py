"""What the cluster is asked while somebody waits: notebooks to start or restart, what runs."""
