"""A plugin as a vendor ships it: a folder that imports its own modules by name."""

from __future__ import annotations

from fixture_package.echo import DRIVER
from nims_appliance.hookspecs import hookimpl

__version__ = "2.1"


@hookimpl
def nims_drivers():
    return [DRIVER]


@hookimpl
def nims_profiles():
    return ["name: fixture-sonar\ntitle: Fixture sonar\ndriver: fixture\nsettings: {scale: 3.0}\n"]
