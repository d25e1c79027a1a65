"""Addresses: where a trigger's message can go.

udp://host:port      a datagram, sent at once: for cameras and turbines
tcp://host:port      a line, over a connection that is kept open
http://... https://... a webhook: the message is posted
command:NAME         runs the program NAME of the folder `commands` of the data folder; the message is its input
clip                 keeps the bytes around this moment as a clip
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import ConfigError

EXPECTED = "expected udp://host:port, tcp://host:port, http://... or https://..., command:NAME or clip"


@dataclass(frozen=True, slots=True)
class Action:
    """One place where messages go."""

    scheme: str
    target: str
    """URL of a webhook, name of a command."""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.scheme in ("udp", "tcp"):
            return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        return self.target if self.target.startswith("http") else f"{self.scheme}:{self.target}".rstrip(":")

    @property
    def is_delivered_later(self) -> bool:
        """Whether a message that does not arrive is kept and sent again."""
        return self.scheme in ("tcp", "http", "https")


def parse_action(text: str) -> Action:
    """Return what an action's text means.

    Raises:
      ConfigError: it is none; says what was expected.
    """
    scheme, colon, rest = text.strip().partition(":")
    scheme = scheme.lower()
    if scheme == "clip" and not colon:
        return Action("clip", "")
    if scheme == "command" and rest and not set(rest) & set("/\\\0") and not rest.startswith("."):
        return Action("command", rest)
    if scheme in ("udp", "tcp", "http", "https") and rest.startswith("//"):
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"{_quoted(text)}: {error}") from None
        if host and scheme in ("http", "https"):
            return Action(scheme, text.strip(), host, port or 0)
        if host and port:
            return Action(scheme, "", host, port)
    raise ConfigError(f"{_quoted(text)}: {EXPECTED}")


def without_login(action: Action) -> str:
    """Return the text of an action for everybody's eyes: a webhook's without user, password and query."""
    return hide_login(str(action))


def hide_login(text: str, mask: str = "") -> str:
    """Return the text of an action, or of what was meant to be one, with a mask for what lets in to a webhook.

    That is user and password, and the query. With an empty mask it is not told whether there is a login.
    """
    parts = re.fullmatch(r"([A-Za-z]*:/*)([^/?#]*@)?([^?#]*)([?#].*)?", text.strip(), re.DOTALL)
    if parts is None:
        return text
    scheme, login, place, query = parts.groups()
    login = f"{mask}@" if login and mask else ""
    query = f"?{mask or '...'}" if query else ""
    return f"{scheme}{login}{place}{query}"


def _quoted(text: str) -> str:
    """Return what was meant to be an action for an error text: without all that may be a login."""
    return repr(re.sub(r"[?#].*|(?<=//)[^?#]*@", "", text, flags=re.DOTALL))
