"""Kongsberg M3: driver of the beamformed stream and its files (IMB)."""
