"""Wheels become layers by splicing: the deflate streams of a wheel are copied into a gzip tar.

    wheel.read ──> install.plan ──> splice.write ──> a layer file, ready to push
                        bytecode ──────┘

Nothing that a wheel holds compressed is compressed again, and no code of a wheel is run.
"""
