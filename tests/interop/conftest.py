"""Interoperation with programs that are too large to be tools of the project."""

from __future__ import annotations

import importlib.util

collect_ignore = [] if importlib.util.find_spec("echopype") else ["test_echopype.py"]
