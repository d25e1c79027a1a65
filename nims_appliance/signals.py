"""Signals: how the process is asked to end, and what if it does not."""

from __future__ import annotations

import logging
import os
import signal
import threading

import trio

log = logging.getLogger(__name__)

FORCE_S = 3.0
"""From the signal until the process ends in any case: a worker thread cannot be cancelled."""


async def stop_on_signals(
    stopping: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Set `stopping` when the process is asked to end, and end it in any case FORCE_S later.

    A second Ctrl+C ends it at once.
    """
    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # the terminal was closed; nohup has it ignored
        wanted.append(signal.SIGHUP)
    with trio.open_signal_receiver(*wanted) as signals:
        task_status.started()
        async for number in signals:
            if stopping.is_set() and number == signal.SIGINT:
                os._exit(130)
            if not stopping.is_set():
                log.info("%s: stopping", signal.Signals(number).name)
                timer = threading.Timer(FORCE_S, _force)
                timer.daemon = True
                timer.start()
                stopping.set()


def _force() -> None:
    log.error("a part did not stop within %.0f s: ending without it", FORCE_S)
    os._exit(1)
