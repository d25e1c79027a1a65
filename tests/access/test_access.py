"""Users, tokens, sessions and the limit of logins, on real files and a clock that the tests set."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.access import passwords
from nims_appliance.access.login_limit import ACCOUNT, ADDRESS, PAIR, LoginLimit, network_of
from nims_appliance.access.sessions import FUTURE_S, IDLE_S, RENEW_S, Sessions
from nims_appliance.access.store import KEY_CHANGE_S, SESSION_S, AccessError, AccessStore, Content, User
from nims_appliance.errors import ConfigError

DAY_S = 86400.0
START_S = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def hashed() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_N", 16)  # a hash says itself how slow it is
        return passwords.hash_password("correct horse")


@pytest.fixture
def store(tmp_path: Path, clock: Clock, hashed: str) -> AccessStore:
    """With an admin `ann` and an operator `bob`."""
    made = AccessStore(tmp_path, clock=clock)

    def add(content: Content) -> None:
        content.users["ann"] = User("ann", "admin", hashed, "1", START_S)
        content.users["bob"] = User("bob", "operator", hashed, "1", START_S)

    made.edit(add)
    return made


# Passwords


def test_made_passwords_are_readable_and_differ() -> None:
    made = {passwords.make_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        assert re.fullmatch(r"[2-9a-hjkmnp-z]{4}(-[2-9a-hjkmnp-z]{4}){3}", password)


def test_a_hash_is_scrypt_with_a_salt_of_its_own() -> None:
    one, other = passwords.hash_password("correct horse"), passwords.hash_password("correct horse")
    assert one != other
    kind, n, r, p, salt, kept = one.split("$")
    assert (kind, n, r, p) == ("scrypt", "32768", "8", "1")
    expected = hashlib.scrypt(b"correct horse", salt=base64.b64decode(salt), n=2**15, r=8, p=1, maxmem=2**26, dklen=32)
    assert base64.b64decode(kept) == expected
    assert passwords.matches("correct horse", one)
    assert not passwords.matches("correct hors", one)
    assert not passwords.matches("", passwords.NOBODY)


def test_a_made_password_may_be_typed_in_other_ways_and_no_other_password() -> None:
    kept = passwords.hash_password("k7mq-3xwd-9tfh-b2vp")
    for typed in ("k7mq3xwd9tfhb2vp", "K7MQ 3XWD 9TFH B2VP", " k7mq-3xwd-9tfh-b2vp "):
        assert passwords.matches(typed, kept)
    own = passwords.hash_password("Correct-Horse")
    assert not passwords.matches("correct horse", own)
    assert not passwords.matches("Correct Horse", own)


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaaaaa", "bob-the-operator", "x" * 201])
def test_a_password_that_is_guessed_easily_is_refused(password: str) -> None:
    with pytest.raises(passwords.PasswordError):
        passwords.check_new_password(password, "Bob-The-Operator")


# The users file


def test_the_file_is_for_its_owner_only_and_holds_no_secret_in_clear(tmp_path: Path) -> None:
    store = AccessStore(tmp_path)
    password = store.make_first_admin()
    _, token = store.add_token("camera", "viewer", "test")
    text = (tmp_path / "users.json").read_text()
    assert stat.S_IMODE((tmp_path / "users.json").stat().st_mode) == 0o600
    assert password not in text
    assert token.split("_", 2)[2] not in text
    assert passwords.matches(password, store.content.users["admin"].password)
    assert store.make_first_admin() == ""
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_a_file_that_others_can_read_is_told(store: AccessStore, clock: Clock) -> None:
    assert store.warning == ""
    store.path.chmod(0o644)
    assert "chmod 600" in AccessStore(store.path.parent, clock=clock).warning


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 2}',
        b'{"users": {"ann": {"name": "ann", "role": "root", "password": "", "generation": "", "changed_s": 0}}}',
        b'{"users": {"ann": {"name": "bob", "role": "admin", "password": "", "generation": "", "changed_s": 0}}}',
        b" " * (2**20 + 1),
    ],
)
def test_a_damaged_file_lets_nobody_in_and_is_kept(store: AccessStore, clock: Clock, damage: bytes) -> None:
    cookie = Sessions(store).cookie(Sessions(store).begin(store.content.users["ann"]))
    store.path.write_bytes(damage)
    again = AccessStore(store.path.parent, clock=clock)
    assert again.content.users == {}
    assert "damaged" in again.problem
    assert "nims users add" in again.problem
    assert Sessions(again).read_cookie(cookie) is None
    assert again.make_first_admin() == ""
    for change in (lambda: again.add_user("eve", "admin", "correct horse"), lambda: again.add_token("x", "admin", "")):
        with pytest.raises(AccessError, match="damaged"):
            change()
    assert store.path.read_bytes() == damage


def test_a_pipe_in_place_of_the_file_is_no_reason_to_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "users.json")
    assert "expected a file" in AccessStore(tmp_path).problem


def test_a_data_folder_that_cannot_be_written_is_told_and_changes_nothing(store: AccessStore, monkeypatch) -> None:
    before = store.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AccessError, match=r"cannot be written: No space left on device \(nothing was changed\)"):
        store.remove_user("bob")
    assert store.path.read_bytes() == before
    assert "bob" in store.content.users


def test_a_change_of_another_process_is_seen(store: AccessStore, clock: Clock, monkeypatch) -> None:
    other = AccessStore(store.path.parent, clock=clock)
    other.remove_user("bob")
    monkeypatch.setattr("nims_appliance.access.store.LOOK_INTERVAL_S", -1.0)
    assert list(store.content.users) == ["ann"]
    store.path.unlink()
    assert store.content.users == {}
    assert "there is no user" in store.problem


ADD_TOKENS = """
import sys
from pathlib import Path
from nims_appliance.access.store import AccessStore
store = AccessStore(Path(sys.argv[1]))
for number in range(10):
    store.add_token(f"{sys.argv[2]} {number}", "viewer", "test")
"""


def test_two_processes_lose_no_change_of_each_other(tmp_path: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", ADD_TOKENS, str(tmp_path), which]) for which in "ab"]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(AccessStore(tmp_path).content.tokens) == 20


def test_names_are_told_apart_and_the_last_admin_stays(store: AccessStore) -> None:
    for name in ("", "a/b", " ann", "x" * 41, "a\n", "ä"):
        with pytest.raises(AccessError, match="a name has"):
            store.add_user(name, "viewer", "correct horse")
    with pytest.raises(AccessError, match="already"):
        store.add_user("ANN", "viewer", "correct horse")
    with pytest.raises(AccessError, match="only admin"):
        store.remove_user("ann")
    with pytest.raises(AccessError, match="only admin"):
        store.change_user("ann", role="viewer")
    store.change_user("bob", role="admin")
    store.remove_user("ann")
    with pytest.raises(AccessError, match="no user 'ann'"):
        store.remove_user("ann")


def test_the_command_line_makes_a_login_for_whoever_has_the_folder(tmp_path: Path) -> None:
    def nims(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nims_appliance", "users", *arguments, "--data", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    made = nims("add", "ann", "--role", "admin")
    assert made.returncode == 0
    password = made.stdout.splitlines()[-1]
    assert passwords.matches(password, AccessStore(tmp_path).content.users["ann"].password)
    assert "ann" in nims("list").stdout
    refused = nims("remove", "ann")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


# Sessions


def test_a_cookie_says_who_it_is_and_ends_with_logout(store: AccessStore) -> None:
    sessions = Sessions(store)
    identity = sessions.begin(store.content.users["bob"])
    read = sessions.read_cookie(sessions.cookie(identity))
    assert (read.name, read.role, read.session) == ("bob", "operator", identity.session)
    assert read.may("viewer")
    assert read.may("operator")
    assert not read.may("admin")


async def test_a_logout_counts_for_copies_of_the_cookie_and_after_a_restart(store: AccessStore, clock: Clock) -> None:
    sessions = Sessions(store)
    identity = sessions.begin(store.content.users["bob"])
    copied = sessions.cookie(identity)
    await sessions.end(identity)
    assert sessions.read_cookie(copied) is None
    assert Sessions(AccessStore(store.path.parent, clock=clock)).read_cookie(copied) is None


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"password": "battery staple"}])
def test_a_new_password_or_role_ends_all_sessions_of_the_user(store: AccessStore, change: dict) -> None:
    sessions = Sessions(store)
    bobs, anns = (sessions.cookie(sessions.begin(store.content.users[name])) for name in ("bob", "ann"))
    store.change_user("bob", **change)
    assert sessions.read_cookie(bobs) is None
    assert sessions.read_cookie(anns) is not None
    store.remove_user("bob")
    store.add_user("bob", "viewer", "correct horse")
    assert sessions.read_cookie(bobs) is None


def test_a_session_ends_without_use_and_in_any_case(store: AccessStore, clock: Clock) -> None:
    sessions = Sessions(store)
    identity = sessions.begin(store.content.users["bob"])
    cookie = sessions.cookie(identity)
    assert not sessions.read_cookie(cookie).renew
    clock.now_s += RENEW_S + 1
    assert sessions.read_cookie(cookie).renew
    clock.now_s = START_S + IDLE_S + 1
    assert sessions.read_cookie(cookie) is None
    for day in range(1, 31):
        clock.now_s = START_S + day * DAY_S
        cookie = sessions.cookie(identity)
        assert sessions.read_cookie(cookie) is not None
    clock.now_s = START_S + SESSION_S + 60
    assert sessions.read_cookie(sessions.cookie(identity)) is None
    clock.now_s = START_S - FUTURE_S - 60
    assert sessions.read_cookie(cookie) is None


def test_cookies_are_signed_with_the_newest_key_and_read_with_the_one_before(store: AccessStore, clock: Clock) -> None:
    sessions = Sessions(store)
    clock.now_s = START_S + KEY_CHANGE_S - 60
    identity = sessions.begin(store.content.users["bob"])
    old = sessions.cookie(identity)
    clock.now_s += 120
    store.edit(lambda content: None)
    assert len(store.content.keys) == 2
    assert sessions.read_cookie(old) is not None
    assert sessions.cookie(identity).rsplit(".", 1)[1] != old.rsplit(".", 1)[1]
    store.edit(lambda content: content.keys.pop(0))
    assert sessions.read_cookie(old) is None
    clock.now_s += 10 * KEY_CHANGE_S
    store.edit(lambda content: None)
    clock.now_s += SESSION_S + 60
    store.edit(lambda content: None)
    assert len(store.content.keys) <= 2


def test_a_clock_that_jumps_back_at_each_start_makes_no_heap_of_keys(store: AccessStore, clock: Clock) -> None:
    for _ in range(10):
        clock.now_s = 0.0
        store.edit(lambda content: None)
        clock.now_s = START_S + 5 * KEY_CHANGE_S
        store.edit(lambda content: None)
    assert len(store.content.keys) <= 4


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_cookie_that_was_changed_anywhere_counts_for_nothing(tmp_path_factory, position: int, bit: int) -> None:
    store = _given_store(tmp_path_factory)
    sessions = Sessions(store)
    cookie = bytearray(sessions.cookie(sessions.begin(store.content.users["bob"])).encode())
    position %= len(cookie)
    cookie[position] ^= 1 << bit
    read = sessions.read_cookie(cookie.decode("latin1"))
    # The last character of base64 holds bits that mean nothing.
    assert read is None or (position in (len(cookie) - 1,) and read.name == "bob" and read.role == "operator")


_stores: list[AccessStore] = []


def _given_store(tmp_path_factory) -> AccessStore:
    if not _stores:
        store = AccessStore(tmp_path_factory.mktemp("access"))
        store.edit(lambda content: content.users.update(bob=User("bob", "operator", "", "1", START_S)))
        _stores.append(store)
    return _stores[0]


@pytest.mark.parametrize("text", ["", ".", "a.b", "\0", "é", "[]", "bnVsbA.x", "A" * 100_000])
def test_nonsense_in_place_of_a_cookie_or_token_is_nobody(store: AccessStore, text: str) -> None:
    sessions = Sessions(store)
    assert sessions.read_cookie(text) is None
    assert sessions.read_token(text) is None
    assert sessions.read_device(text, "bob") == ""


def test_a_cookie_of_one_kind_is_none_of_another(store: AccessStore) -> None:
    sessions = Sessions(store)
    assert sessions.read_cookie(sessions.device_cookie("bob")) is None
    assert sessions.read_device(sessions.cookie(sessions.begin(store.content.users["bob"])), "bob") == ""
    assert sessions.read_device(sessions.device_cookie("bob"), "ann") == ""
    assert sessions.read_device(sessions.device_cookie("bob"), "bob")


def test_a_data_folder_does_not_take_the_cookies_of_another(store: AccessStore, tmp_path: Path) -> None:
    other = AccessStore(tmp_path / "..")
    cookie = Sessions(store).cookie(Sessions(store).begin(store.content.users["bob"]))
    assert Sessions(other).read_cookie(cookie) is None
    assert Sessions(other).cookie_name != Sessions(store).cookie_name


async def test_a_token_is_known_by_its_secret_until_it_is_revoked(store: AccessStore, clock: Clock) -> None:
    identity, text = store.add_token("camera", "operator", "ann")
    sessions = Sessions(store)
    token = sessions.read_token(text)
    assert (token.name, token.role) == ("camera", "operator")
    await store.note_use(token)
    assert store.content.tokens[identity].last_used_s == START_S
    assert sessions.read_token(text[:-1]) is None
    assert sessions.read_token(f"nims_{identity}_") is None
    with pytest.raises(AccessError, match="already"):
        store.add_token("Camera", "viewer", "ann")
    store.remove_token(identity)
    assert sessions.read_token(text) is None


# Limits


def attempts(limit: LoginLimit, count: int, address: str, account: str = "ann", device: str = "") -> int:
    return sum(limit.begin(address, account, device) == 0 for _ in range(count))


def test_guessing_at_one_account_from_one_address_is_soon_slow(clock: Clock) -> None:
    limit = LoginLimit(clock)
    assert attempts(limit, 1000, "10.0.0.66") == PAIR.burst
    passed = 0
    for _ in range(3600):
        clock.now_s += 1
        passed += limit.begin("10.0.0.66", "ann", "") == 0
    assert 3600 / PAIR.interval_s - 1 <= passed <= 3600 / PAIR.interval_s + 1


def test_guessing_at_many_accounts_from_one_address_is_slow_too(clock: Clock) -> None:
    limit = LoginLimit(clock)
    assert sum(attempts(limit, 1, "10.0.0.66", f"user {number}") for number in range(1000)) == ADDRESS.burst


def test_guessing_from_many_addresses_is_slow_too(clock: Clock) -> None:
    limit = LoginLimit(clock)
    assert sum(attempts(limit, 5, f"10.0.{number // 200}.{number % 200}") for number in range(400)) == ACCOUNT.burst
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8:0:2::1")


def test_one_attacker_does_not_lock_the_operator_out(clock: Clock) -> None:
    limit = LoginLimit(clock)
    for _ in range(3600):
        clock.now_s += 1
        limit.begin("10.0.0.66", "ann", "")
        limit.begin("10.0.0.66", f"user {clock.now_s}", "")
    assert limit.begin("10.0.0.7", "ann", "") == 0
    # Not even from the attacker's own address, with a browser that has logged in before.
    assert limit.begin("10.0.0.66", "ann", "a known browser") == 0


def test_many_attackers_do_not_lock_out_a_browser_that_is_known(clock: Clock) -> None:
    limit = LoginLimit(clock)
    for number in range(2000):
        limit.begin(f"10.{number // 250}.0.{number % 250}", "ann", "")
    assert limit.begin("10.99.0.7", "ann", "") > 0
    assert limit.begin("10.99.0.7", "ann", "a known browser") == 0


def test_many_who_log_in_behind_one_address_do_not_count(clock: Clock) -> None:
    limit = LoginLimit(clock)
    for number in range(500):
        account = f"user {number % 50}"
        assert limit.begin("10.0.0.1", account, "") == 0
        limit.succeeded("10.0.0.1", account, "")


def test_an_error_of_access_is_an_error_of_settings() -> None:
    assert issubclass(AccessError, ConfigError)


def test_the_file_is_json_that_an_operator_can_read(store: AccessStore) -> None:
    assert list(json.loads(store.path.read_text())["users"]) == ["ann", "bob"]
