"""The web pages at `/`: rendered by the server, readable without JavaScript, quicker with it."""
