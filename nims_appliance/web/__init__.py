"""Pages, sockets and API for browsers and programs on the local network."""
