"""Which requests are answered: names, origins, limits and headers that keep foreign web pages out.

A page from elsewhere, open in the browser of somebody on board, can send requests to this server. Three things stop it
from reading or changing anything: the Host header must be one of our names (a foreign name that resolves to our
address is refused), a request that changes something and every WebSocket must come from our own pages, and answers
carry no permission for other origins.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def own_names() -> frozenset[str]:
    """Return the names of this computer, in lower case."""
    name = socket.gethostname().lower().rstrip(".")
    short = name.partition(".")[0]
    return frozenset({"localhost", name, short, f"{short}.local"})


def host_error(host: str, names: Iterable[str]) -> str:
    """Return why a Host header is not accepted, or an empty string.

    IP addresses are always accepted: a foreign page cannot make a browser send our address as its own name.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        name = ""
    if not name:
        return "the request names no host"
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if name not in names:
            return f"this computer is not called {name!r}; use its address, or add the name to web.names in config.yaml"
    return ""


def origin_error(origin: str | None, fetch_site: str | None, host: str) -> str:
    """Return why a changing request or a WebSocket is not accepted, or an empty string.

    Programs send neither Origin nor Sec-Fetch-Site, browsers always send one of them; both must name our own pages.
    """
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return f"the request comes from a page of another site ({fetch_site})"
    if origin is None:
        return ""
    try:
        source = urlsplit(origin).netloc.lower()
    except ValueError:
        source = ""
    if source != host.lower():
        return f"the request comes from a page of {origin}, not from this server's own"
    return ""
