"""Who asks (`guard`, `session`), what they may do (`principal`) and where (`table`)."""
