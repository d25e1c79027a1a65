"""Outbox: messages that could not be delivered yet, on disk, until they are or have grown too old."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

FILE_NAME = "outbox.sqlite3"
MOST_MESSAGES = 100_000
LONGEST_S = 7 * 86400.0
_CREATE = (
    "CREATE TABLE IF NOT EXISTS messages "
    "(number INTEGER PRIMARY KEY, action TEXT NOT NULL, body BLOB NOT NULL, since_s REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS messages_by_action ON messages (action, number)",
)


class Outbox:
    """Messages by the action that they are for, oldest first. Every method blocks: call it in a worker thread.

    A file that cannot be read is moved aside: what waits in it is lost, and what comes is not.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / FILE_NAME
        self.dropped = 0
        """Messages that were given up: too old, or too many."""

    def add(self, action: str, bodies: list[bytes]) -> list[int]:
        """Keep messages; return their numbers.

        Raises:
          OSError, sqlite3.Error: they cannot be written.
        """
        with self._opened() as database:
            now_s = time.time()
            insert = "INSERT INTO messages (action, body, since_s) VALUES (?, ?, ?)"
            numbers = [database.execute(insert, (action, body, now_s)).lastrowid or 0 for body in bodies]
            (count,) = database.execute("SELECT count(*) FROM messages").fetchone()
            # as many as there are too many, and what is too old; not what a clock set forward makes look old by years
            oldest_s = now_s - LONGEST_S
            self.dropped += database.execute("DELETE FROM messages WHERE since_s < ?", (oldest_s,)).rowcount
            if count > MOST_MESSAGES:
                query = "DELETE FROM messages WHERE number IN (SELECT number FROM messages ORDER BY number LIMIT ?)"
                self.dropped += database.execute(query, (count - MOST_MESSAGES,)).rowcount
        return numbers

    def first(self, action: str, most: int = 100) -> list[tuple[int, bytes]]:
        """Return the oldest messages for an action, with their numbers; none while there is no file."""
        if not self._path.exists():
            return []
        with self._opened() as database:
            query = "SELECT number, body FROM messages WHERE action = ? ORDER BY number LIMIT ?"
            return database.execute(query, (action, most)).fetchall()

    def actions(self) -> dict[str, int]:
        """Return how many messages wait for each action."""
        if not self._path.exists():
            return {}
        with self._opened() as database:
            return dict(database.execute("SELECT action, count(*) FROM messages GROUP BY action").fetchall())

    def remove(self, numbers: list[int]) -> None:
        """Forget messages: they were delivered."""
        with self._opened() as database:
            database.executemany("DELETE FROM messages WHERE number = ?", [(number,) for number in numbers])

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            database = self._connect()
        except sqlite3.OperationalError:
            raise  # locked, read-only, full: the file itself may be good
        except sqlite3.DatabaseError:
            self._path.replace(self._path.with_name(f"{FILE_NAME}.damaged"))
            database = self._connect()
        with contextlib.closing(database), database:
            yield database

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=2.0)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            for statement in _CREATE:
                database.execute(statement)
        except BaseException:
            database.close()
            raise
        return database
