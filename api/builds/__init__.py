"""Builds: asked for, watched, listed and cancelled."""
