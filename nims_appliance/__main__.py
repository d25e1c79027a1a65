"""``python -m nims_appliance`` is the command line."""

from .cli import main

main()
