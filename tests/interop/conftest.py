"""Interoperation with programs that are too large to be tools of the project."""

from __future__ import annotations

import importlib.util
import os
import shutil

collect_ignore = [] if importlib.util.find_spec("echopype") else ["test_echopype.py"]
if not (os.environ.get("SIGNALK_SERVER") or shutil.which("signalk-server")):
    collect_ignore.append("test_signalk.py")
