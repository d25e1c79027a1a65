"""Faults: what an appliance at sea meets, done to a real process, and what is left afterwards."""
