"""Triggers: rules that act on what the sonars see."""
