"""Blueprint Subsea Oculus: driver of the TCP stream and its files."""
