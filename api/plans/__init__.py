"""Plans: what a build would do, without building."""
