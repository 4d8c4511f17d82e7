"""Places that hold images: an OCI registry, or an OCI image layout on disk.

    open.py ──> registry.py ──> push.py, pull.py ──> transport.py ──> auth.py, connections.py
           └──> layout.py ───> ingest.py
    copy.py: from any store to any other

`protocol.py` says what a store is; whoever builds, pushes or mirrors knows no more than that.
"""
