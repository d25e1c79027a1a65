"""Delivery: messages on their way to other computers and programs, at once or when they can be reached again."""
