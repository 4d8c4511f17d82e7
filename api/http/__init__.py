"""What every request goes through: its id, the limits of its body, and being counted."""
