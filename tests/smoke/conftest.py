"""The built zipapp as an operator has it; `make smoke`. Without NIMS_PYZ nothing is there to try, nor collected."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("NIMS_PYZ") else ["test_*.py"]
