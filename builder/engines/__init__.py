"""Container engines: what turns a Dockerfile into an image in a store, limited and cancellable."""
