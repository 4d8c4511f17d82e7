"""Pins: manifest text in, pinned text out."""
