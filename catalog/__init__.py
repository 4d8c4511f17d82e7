"""What exists: namespaces, environments, versions, builds, events, layers, bases, tokens."""
