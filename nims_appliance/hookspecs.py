"""What a plugin can add. Specs only: the table of contents of the appliance's extension points.

Every hook is called once, at start-up, on the trio thread, before any sonar runs; it must not block, open devices or
start threads. It returns a list of offers, which the core then owns. A hook that raises costs its plugin that hook's
offers: the error is shown on the plugins page and by ``nims plugins``, and the appliance starts without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from .decoder import Driver, Simulator
    from .output import Output
    from .pipeline.classify import Classifier

PROJECT = "nims"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def nims_drivers() -> list[Driver]:
    """Offer drivers: makers of decoders that turn a sonar's bytes into frames.

    Returns: drivers; a name that another plugin has offered already is refused.
    """
    raise NotImplementedError


@hookspec
def nims_profiles() -> list[str]:
    """Offer firmware profiles.

    Returns: the text of one YAML document per profile, as described in docs/profiles.md.
    """
    raise NotImplementedError


@hookspec
def nims_simulators() -> list[Simulator]:
    """Offer simulated devices, for ``nims simulate``, ``simulator:`` links and the demo.

    Returns: simulators; one for a profile.
    """
    raise NotImplementedError


@hookspec
def nims_track_classifiers() -> list[Classifier]:
    """Offer classifiers of tracks; the one with the highest probability for a track wins.

    A classifier is called by the pipeline in its worker thread, about every second while a track lives, with what is
    known of it so far, and when it has ended.
    """
    raise NotImplementedError


@hookspec
def nims_outputs() -> list[Callable | Output]:
    """Offer outputs: ``async def output(context: Context) -> None`` functions that run as supervised tasks, or
    `Output`s, which have settings.

    An output subscribes to the buses of its context and sends what it takes wherever it likes; when it raises it is
    restarted with back-off. It must be cancellable.
    """
    raise NotImplementedError


@hookspec
def nims_commands() -> list[click.Command]:
    """Offer subcommands of the ``nims`` command line; a name that exists already is refused."""
    raise NotImplementedError
