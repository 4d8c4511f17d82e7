"""The `kitbag-server` command: reads the settings and starts the parts."""
