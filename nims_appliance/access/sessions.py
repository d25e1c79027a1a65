"""Who somebody is: sessions in signed cookies, and API tokens.

A cookie holds the session's id, the user, the user's generation, and when it began and was last used; signed
(HMAC-SHA256, itsdangerous) with the newest key of the users file, and accepted with the older ones. Nothing of it is
secret from its owner. A session ends when it is logged out, when its user's password or role is changed, after
`IDLE_S` without use, and after `SESSION_S` in any case.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

from itsdangerous import BadData, URLSafeSerializer

from .passwords import digest_of
from .store import ROLES, SESSION_S, AccessStore, Role, Token, User

IDLE_S = 3 * 86400.0
RENEW_S = 600.0
"""So often a cookie in use is replaced by one with a new time of last use."""
FUTURE_S = 300.0
"""A cookie from farther in the future is refused: the clock was wrong when it was made, or is wrong now."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, and what they may do."""

    kind: Literal["nobody", "user", "token"]
    name: str = ""
    role: Role | Literal[""] = ""
    """Empty: not even look."""
    session: str = ""
    """Id of a user's session; empty for a token."""
    begun_s: float = 0.0
    renew: bool = False
    """Whether the cookie is to be replaced by a younger one."""

    @property
    def author(self) -> str:
        """How changes by them are signed."""
        return {"user": self.name, "token": f"token {self.name}"}.get(self.kind, "nobody")

    @property
    def csrf(self) -> str:
        """What a page shows with each change to prove that it is ours: other sites cannot read it."""
        return hashlib.sha256(f"csrf {self.session}".encode()).hexdigest()[:32] if self.session else ""

    def may(self, role: Role) -> bool:
        """Whether they may do what `role` may."""
        return bool(self.role) and ROLES.index(self.role) >= ROLES.index(role)


class Sessions:
    """Makes and reads cookies and tokens."""

    def __init__(self, store: AccessStore) -> None:
        self._store = store
        self._ended: set[str] = set()

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        keys = [key.secret for key in self._store.content.keys]
        return URLSafeSerializer(
            keys or [secrets.token_hex()],  # without a key nothing is accepted
            salt=f"nims {purpose}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    @property
    def cookie_name(self) -> str:
        """Name of the session's cookie; cookies are not told apart by port, so each data folder has its own."""
        return f"nims_{self._store.content.id}"

    def begin(self, user: User) -> Identity:
        """Return a new session of a user, whose cookie is still to be set."""
        return Identity("user", user.name, user.role, secrets.token_hex(16), self._store.now_s(), renew=True)

    def cookie(self, identity: Identity) -> str:
        """Return the signed cookie of a session, used now.

        Raises:
          KeyError: its user is gone.
        """
        generation = self._store.content.users[identity.name].generation
        begun_s, now_s = round(identity.begun_s), round(self._store.now_s())
        return str(self._serializer("session").dumps([identity.session, identity.name, generation, begun_s, now_s]))

    def read_cookie(self, text: str) -> Identity | None:
        """Return who shows a cookie; None if it does not count (any more)."""
        content, now_s = self._store.content, self._store.now_s()
        try:
            session, name, generation, begun_s, used_s = self._serializer("session").loads(text)
        except (BadData, ValueError, TypeError):
            return None
        user = content.users.get(name)
        if user is None or user.generation != generation or session in content.ended or session in self._ended:
            return None
        if not (-FUTURE_S <= now_s - begun_s <= SESSION_S and -FUTURE_S <= now_s - used_s <= IDLE_S):
            return None
        return Identity("user", name, user.role, session, begun_s, renew=now_s - used_s > RENEW_S)

    async def end(self, identity: Identity) -> None:
        """Let a session count no more; here at once, and for ever once it is written down.

        Raises:
          AccessError: it cannot be written.
        """
        self._ended.add(identity.session)
        until_s = identity.begun_s + SESSION_S + FUTURE_S
        await self._store.change(lambda content: content.ended.update({identity.session: until_s}))

    def read_token(self, text: str) -> Token | None:
        """Return the token that a program shows; None if there is no such."""
        _, _, rest = text.partition("nims_")
        identity, _, secret = rest.partition("_")
        token = self._store.content.tokens.get(identity)
        if token is None or not hmac.compare_digest(token.digest, digest_of(secret)):
            return None
        return token

    def device_cookie(self, name: str) -> str:
        """Return a signed note that this browser has logged in as `name`, so that its attempts are counted apart."""
        return str(self._serializer("device").dumps([secrets.token_hex(8), name]))

    def read_device(self, text: str, name: str) -> str:
        """Return the id of a browser that has logged in as `name` before; "" for any other."""
        try:
            device, known_as = self._serializer("device").loads(text)
        except (BadData, ValueError, TypeError):
            return ""
        return str(device) if known_as == name else ""
