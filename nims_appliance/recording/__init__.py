"""Recordings: the bytes of the sonars, as they came, on disk and back."""
