"""The way to a server over HTTP, whatever the server is."""
