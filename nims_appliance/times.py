"""Times as text: ISO 8601, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_time(time_s: float) -> str | None:
    """Return a time, seconds since 1970, as ISO 8601 in UTC with milliseconds; None for one that no calendar has."""
    try:
        moment = datetime.fromtimestamp(time_s, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """Return seconds since 1970 of a time in ISO 8601, "2026-11-22T01:36:45Z"; without a zone it is UTC.

    Raises:
      ValueError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a time as 2026-11-22T01:36:45Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
