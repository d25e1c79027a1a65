"""Passwords and other secrets: made so that people can read and type them, kept so that nobody can read them back."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import unicodedata

from ..errors import NimsError

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without 0, 1, i, l, o: nobody has to guess which one is meant."""
GROUPS, GROUP_LENGTH = 4, 4
"""16 of 31 characters: 79 bits."""
MIN_LENGTH, MAX_LENGTH = 10, 200

# RFC 7914; 32 MiB and about 0.1 s for each guess on a field computer.
_N, _R, _P = 2**15, 8, 1
_MAX_MEMORY_BYTES = 64 * 2**20


class PasswordError(NimsError):
    """A new password cannot be taken."""


def make_password() -> str:
    """Return a new password of four groups of four, such as ``k7mq-3xwd-9tfh-b2vp``."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(GROUPS))
    return "-".join(groups)


def check_new_password(password: str, name: str) -> None:
    """Refuse a password that is guessed too easily.

    Raises:
      PasswordError: it is too short or too long, of few different characters, or the name of its user.
    """
    if len(password) < MIN_LENGTH:
        raise PasswordError(f"a password has at least {MIN_LENGTH} characters, this one has {len(password)}")
    if len(password) > MAX_LENGTH:
        raise PasswordError(f"a password has at most {MAX_LENGTH} characters, this one has {len(password)}")
    if len(set(password)) < 5 or password.strip().casefold() == name.casefold():
        raise PasswordError("this password is guessed too easily: take several words, or the one that is proposed")


def hash_password(password: str) -> str:
    """Return the salted hash of a password, with all that `matches` needs; takes 0.1 s.

    The hash is scrypt (RFC 7914): ``scrypt$N$r$p$salt$hash``, the last two in base64.
    """
    salt = secrets.token_bytes(16)
    return "$".join(["scrypt", str(_N), str(_R), str(_P), _text(salt), _text(_scrypt(password, salt, _N, _R, _P))])


def matches(password: str, kept: str) -> bool:
    """Whether a password is the one that was hashed; takes 0.1 s.

    Raises:
      ValueError: `kept` is not what `hash_password` returned.
    """
    kind, n, r, p, salt, expected = kept.split("$")
    if kind != "scrypt":
        raise ValueError(f"expected a scrypt hash, got {kind!r}")
    return hmac.compare_digest(_scrypt(password, _bytes(salt), int(n), int(r), int(p)), _bytes(expected))


NOBODY = f"scrypt${_N}${_R}${_P}${'A' * 22}==${'A' * 43}="
"""Compared with when there is no such user, so that the answer takes as long; nothing matches it."""


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(_canonical(password), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY_BYTES, dklen=32)


def _canonical(password: str) -> bytes:
    """Return the bytes of a password: what looks the same is the same, also from another keyboard.

    A password of the form of `make_password` may be typed in capitals, and without or with other gaps.
    """
    typed = "".join(password.lower().replace("-", " ").split())
    if len(typed) == GROUPS * GROUP_LENGTH and set(typed) <= set(ALPHABET):
        return typed.encode()
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def digest_of(secret: str) -> str:
    """Return the hash of a secret of full entropy (a token), which needs neither salt nor slowness."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"malformed base64: {error}") from None
