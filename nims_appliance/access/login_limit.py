"""How often a password may be guessed.

Failures are counted in buckets that empty slowly: for each address with each account, for each address, for each
account, and in all. A browser that has logged in to the account before (it shows a signed cookie) has a bucket of its
own and none of the others, so nobody can lock the operator out from another browser, and many people behind one
address do not count for each other. Passwords that the appliance makes have 79 bits: the rates below are for those
that people choose.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass

MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket takes `burst` failures at once; one of them is forgotten every `interval_s`."""

    burst: int
    interval_s: float


DEVICE = Rate(20, 60.0)
PAIR = Rate(8, 60.0)
ADDRESS = Rate(40, 20.0)
ACCOUNT = Rate(100, 10.0)
ALL = Rate(400, 1.0)


def network_of(address: str) -> str:
    """Return what counts as one address: of IPv6, whoever has one has 2^64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


class LoginLimit:
    """Counts attempts; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._empty_s: dict[tuple[str, ...], float] = {}
        """When each bucket is empty again, by what it counts."""

    def begin(self, address: str, account: str, device: str) -> float:
        """Count an attempt as failed, before it is known to be; return 0, or how many seconds to wait instead."""
        now_s, buckets = self._clock(), self._buckets(address, account, device)
        wait_s = max(self._wait_s(key, rate, now_s) for key, rate in buckets)
        if wait_s > 0:
            return wait_s
        for key, rate in buckets:
            self._empty_s[key] = max(self._empty_s.get(key, 0.0), now_s) + rate.interval_s
        if len(self._empty_s) > MOST_BUCKETS:
            self._empty_s = {key: empty_s for key, empty_s in self._empty_s.items() if empty_s > now_s}
        return 0.0

    def succeeded(self, address: str, account: str, device: str) -> None:
        """Take an attempt back: it was none of those that count."""
        for key, rate in self._buckets(address, account, device):
            if key in self._empty_s:
                self._empty_s[key] -= rate.interval_s

    def _buckets(self, address: str, account: str, device: str) -> list[tuple[tuple[str, ...], Rate]]:
        network = network_of(address)
        if device:
            return [(("device", device, account), DEVICE)]
        return [
            (("pair", network, account), PAIR),
            (("address", network), ADDRESS),
            (("account", account), ACCOUNT),
            (("all",), ALL),
        ]

    def _wait_s(self, key: tuple[str, ...], rate: Rate, now_s: float) -> float:
        """Return how long until there is room for one more."""
        waiting = (self._empty_s.get(key, -math.inf) - now_s) / rate.interval_s
        return max(0.0, (waiting + 1 - rate.burst) * rate.interval_s)
