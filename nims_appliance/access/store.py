"""The users file: users, API tokens and the keys of signed cookies, as `users.json` in the data folder.

Only the owner can read it, passwords and tokens are in it as hashes alone, and it is replaced as a whole, so that a
power cut leaves the old or the new. The command line changes it while the appliance runs: each change is made under a
lock on what is in the file then, and the appliance sees within a second that the file is another.

A file that cannot be used is never overwritten: nobody can log in until it is repaired, and `problem` says how.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import trio

from ..errors import ConfigError
from .passwords import check_new_password, digest_of, hash_password, make_password

T = TypeVar("T")
log = logging.getLogger(__name__)
Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""Each may do all that the ones before it may."""
USERS_FILE = "users.json"
FIRST_ADMIN = "admin"
MAX_USERS, MAX_TOKENS = 200, 200
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,39}")
LOOK_INTERVAL_S = 1.0
"""How often the appliance looks whether the file is another."""
LOCK_TIMEOUT_S = 5.0
KEY_BYTES = 32
SESSION_S = 30 * 86400.0
"""Longest life of a session, whatever is done in it."""
KEY_CHANGE_S = 30 * 86400.0
"""After so long cookies are signed with a new key; the one before counts until its last session has ended."""
MOST_KEYS = 4
USE_INTERVAL_S = 3600.0
"""The last use of a token is written down so often."""
MAX_BYTES = 2**20


class AccessError(ConfigError):
    """Users or tokens cannot be changed as wished."""


class User(msgspec.Struct):
    """Somebody who can log in."""

    name: str
    role: Role
    password: str
    """As `hash_password` returns it."""
    generation: str
    """Another one with each change of password or role: sessions of earlier ones have ended."""
    changed_s: float
    """When the password was set, UTC."""


class Token(msgspec.Struct):
    """What a program shows instead of a password."""

    id: str
    name: str
    role: Role
    digest: str
    created_s: float
    created_by: str
    last_used_s: float = 0.0
    """To the hour; 0: never."""


class Key(msgspec.Struct):
    """What cookies are signed with."""

    secret: str
    created_s: float


class Content(msgspec.Struct):
    """What is in the file."""

    version: Literal[1] = 1
    id: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))
    """Of this data folder: two appliances on one computer have cookies of their own."""
    users: dict[str, User] = {}
    tokens: dict[str, Token] = {}
    keys: list[Key] = []
    """Oldest first; the last one signs."""
    ended: dict[str, float] = {}
    """Sessions that were logged out, by their ids, and until when that matters, UTC."""

    def is_last_admin(self, name: str) -> bool:
        """Whether without this user nobody would be left who can change users."""
        admins = [user.name for user in self.users.values() if user.role == "admin"]
        return admins == [name]


class AccessStore:
    """Users, tokens and keys of one data folder."""

    def __init__(self, data: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = data / USERS_FILE
        self.problem = ""
        """Why nobody can log in; says what to do."""
        self.damaged = False
        """Whether that is because the file cannot be used."""
        self.warning = ""
        """What is not as it should be, though the file can be used."""
        self._clock = clock
        self._content = Content()
        self._seen: tuple[int, ...] | None = None
        self._looked_s = -1e9
        self._used_s: dict[str, float] = {}
        self._look()

    @property
    def content(self) -> Content:
        """What is in the file, at most a second old; to be read only."""
        if abs(time.monotonic() - self._looked_s) > LOOK_INTERVAL_S:
            self._look()
        return self._content

    def now_s(self) -> float:
        """Return the time by which sessions and keys age, seconds since 1970."""
        return self._clock()

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        seen = _stamp(self.path)
        if seen == self._seen:
            return
        try:
            content = self._read()
        except AccessError as error:
            self._take(Content(), str(error), seen)
        else:
            self._take(content, "", seen)

    def _take(self, content: Content, problem: str, seen: tuple[int, ...]) -> None:
        self.damaged = bool(problem)
        if not problem and not content.users:
            problem = f"there is no user yet: 'nims users add {FIRST_ADMIN} --role admin' makes one"
        self._seen, self.problem, self._content = seen, problem, content
        open_to_others = content.users and seen[-1] & 0o077
        self.warning = f"{self.path}: other users of this computer can read it: chmod 600" if open_to_others else ""

    def _read(self) -> Content:
        try:
            if self.path.exists() and not self.path.is_file():
                raise ValueError("expected a file")  # opening a pipe would wait for a writer, for ever
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise ValueError(f"larger than {MAX_BYTES} bytes")
            content = msgspec.json.decode(data, type=Content)
            if any(name != user.name for name, user in content.users.items()):
                raise ValueError("a user has two names")
        except FileNotFoundError:
            return Content()
        except OSError as error:
            raise AccessError(
                f"{self.path}: cannot be read ({error.strerror}): nobody can log in until that is corrected"
            ) from None
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            remedy = f"put back a copy of it, or remove it and run 'nims users add {FIRST_ADMIN} --role admin'"
            raise AccessError(f"{self.path}: damaged ({error}): nobody can log in; {remedy}") from None
        return content

    def edit(self, change: Callable[[Content], T]) -> T:
        """Apply `change` to what is in the file now, and save it; blocks, not for the trio thread.

        Raises:
          AccessError: the file is damaged, locked or cannot be written; or `change` refuses. Nothing has changed then.
        """
        with self._locked():
            content = self._read()
            result = change(content)
            now_s = self._clock()
            content.ended = {session: until for session, until in content.ended.items() if until > now_s}
            _renew_keys(content, now_s)
            self._write(msgspec.json.format(msgspec.json.encode(content), indent=1))
            self._take(content, "", _stamp(self.path))
        return result

    async def change(self, change: Callable[[Content], T]) -> T:
        """Do the same as `edit`, in a worker thread."""
        return await trio.to_thread.run_sync(self.edit, change)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = os.open(self.path.with_name(f".{USERS_FILE}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            _own(lock, self.path.parent)
            until = time.monotonic() + LOCK_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise AccessError(f"{self.path}: another program changes it: try again") from None
                    time.sleep(0.02)
                except OSError:
                    break  # a network file system without locks
            yield
        finally:
            os.close(lock)

    def _write(self, data: bytes) -> None:
        temporary = self.path.with_name(f".{USERS_FILE}.tmp")
        try:
            try:
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                with open(os.open(temporary, flags, 0o600), "wb") as file:
                    _own(file.fileno(), self.path.parent)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
            with contextlib.suppress(OSError):  # some network file systems cannot
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> AccessError:
        return AccessError(f"{self.path}: cannot be written: {error.strerror} (nothing was changed)")

    # Users and tokens. These block: for worker threads and the command line.

    def make_first_admin(self) -> str:
        """Return the password of the first admin, who is made now; "" if there is a users file already.

        Raises:
          AccessError: the file cannot be written.
        """
        if self.path.exists():
            return ""
        password = make_password()
        hashed = hash_password(password)

        def add(content: Content) -> str:
            if content.users:  # another process was faster
                return ""
            content.users[FIRST_ADMIN] = self._user(FIRST_ADMIN, "admin", hashed)
            return password

        return self.edit(add)

    def add_user(self, name: str, role: Role, password: str) -> None:
        """Add a user.

        Raises:
          AccessError: the name is malformed or taken, or the file cannot be written.
          PasswordError: the password is guessed too easily.
        """
        _check_name(name)
        check_new_password(password, name)
        hashed = hash_password(password)

        def add(content: Content) -> None:
            if name.casefold() in (other.casefold() for other in content.users):
                raise AccessError(f"there is a user {name!r} already")
            if len(content.users) >= MAX_USERS:
                raise AccessError(f"there are {MAX_USERS} users already")
            content.users[name] = self._user(name, role, hashed)

        self.edit(add)

    def change_user(self, name: str, *, role: Role | None = None, password: str | None = None) -> None:
        """Change a user's role or password; the user's sessions end with it.

        Raises:
          AccessError: there is no such user, or nobody would be left who can change users.
          PasswordError: the password is guessed too easily.
        """
        if password is not None:
            check_new_password(password, name)
        hashed = None if password is None else hash_password(password)

        def change(content: Content) -> None:
            user = _of(content.users, name, "user")
            if role not in (None, "admin") and content.is_last_admin(name):
                raise AccessError(f"{name!r} is the only admin: make another one first")
            content.users[name] = self._user(name, role or user.role, hashed or user.password)
            if hashed is None:
                content.users[name].changed_s = user.changed_s

        self.edit(change)

    def remove_user(self, name: str) -> None:
        """Remove a user; the user's sessions end with it.

        Raises:
          AccessError: there is no such user, or nobody would be left who can change users.
        """

        def remove(content: Content) -> None:
            _of(content.users, name, "user")
            if content.is_last_admin(name):
                raise AccessError(f"{name!r} is the only admin: make another one first")
            del content.users[name]

        self.edit(remove)

    def _user(self, name: str, role: Role, hashed: str) -> User:
        return User(name, role, hashed, secrets.token_hex(8), self._clock())

    def add_token(self, name: str, role: Role, created_by: str) -> tuple[str, str]:
        """Add an API token; return its id and its text, which is kept nowhere.

        Raises:
          AccessError: the name is malformed or taken, or the file cannot be written.
        """
        _check_name(name)
        identity, secret = secrets.token_hex(4), secrets.token_urlsafe(24)

        def add(content: Content) -> None:
            if name.casefold() in (other.name.casefold() for other in content.tokens.values()):
                raise AccessError(f"there is a token {name!r} already")
            if len(content.tokens) >= MAX_TOKENS:
                raise AccessError(f"there are {MAX_TOKENS} tokens already")
            content.tokens[identity] = Token(identity, name, role, digest_of(secret), self._clock(), created_by)

        self.edit(add)
        return identity, f"nims_{identity}_{secret}"

    def remove_token(self, identity: str) -> None:
        """Revoke a token.

        Raises:
          AccessError: there is none with this id.
        """

        def remove(content: Content) -> None:
            _of(content.tokens, identity, "token")
            del content.tokens[identity]

        self.edit(remove)

    async def renew_keys(self) -> None:
        """Make a new key if the newest is old.

        Raises:
          AccessError: the file cannot be written.
        """
        if not _is_fresh(self.content.keys, self._clock()):
            await self.change(lambda content: None)

    async def note_use(self, token: Token) -> None:
        """Write down that a token is used, at most once an hour; a full disk is no reason to refuse it."""
        now_s = self._clock()
        if abs(now_s - max(token.last_used_s, self._used_s.get(token.id, 0.0))) < USE_INTERVAL_S:
            return
        self._used_s[token.id] = now_s

        def note(content: Content) -> None:
            if token.id in content.tokens:
                content.tokens[token.id].last_used_s = now_s

        try:
            await self.change(note)
        except AccessError as error:
            log.warning("last use of token %r not written: %s", token.name, error)


def _renew_keys(content: Content, now_s: float) -> None:
    if not _is_fresh(content.keys, now_s):
        content.keys.append(Key(secrets.token_hex(KEY_BYTES), now_s))
        del content.keys[:-MOST_KEYS]
    while len(content.keys) > 1 and now_s - content.keys[1].created_s > SESSION_S:
        del content.keys[0]


def _is_fresh(keys: list[Key], now_s: float) -> bool:
    # A key of the future was made while the clock was wrong: it is no reason for another at each start.
    return bool(keys) and now_s - keys[-1].created_s < KEY_CHANGE_S


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise AccessError(
            f"{name!r}: a name has 1 to 40 letters (a-z), digits, spaces and ._@-, and begins with a letter or digit"
        )


def _of(table: dict[str, T], key: str, what: str) -> T:
    try:
        return table[key]
    except KeyError:
        raise AccessError(f"there is no {what} {key!r}") from None


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what tells one version of a file from the next; its mode last."""
    try:
        status = path.stat()
    except OSError as error:
        return (-(error.errno or 1), 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mode)


def _own(descriptor: int, folder: Path) -> None:
    """Give a file that root makes to whom the folder belongs, or the appliance could not read it."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            status = folder.stat()
            os.fchown(descriptor, status.st_uid, status.st_gid)
