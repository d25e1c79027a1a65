"""A single-file plugin with the name of a module of Python: it must not get in its way."""

import json

import click

from nims_appliance.hookspecs import hookimpl
from nims_appliance.pipeline.classify import Classifier

STANDARD = json.dumps({"is": "the standard one"})


@hookimpl
def nims_track_classifiers():
    return [Classifier(name="stone", classify=lambda track: ("stone", 0.5))]


@hookimpl
def nims_commands():
    return [click.Command("hello", callback=lambda: click.echo("hello from a plugin"))]


async def publish(context):
    """An output that has nothing to send."""


@hookimpl
def nims_outputs():
    return [publish]
