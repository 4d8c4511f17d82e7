"""Who may call: whoever shows the token, or without one whoever is on this machine."""
