"""`nims users`: who may log in, for whoever has the data folder; also while the appliance runs."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..access.passwords import make_password
from ..access.store import ROLES, AccessError, AccessStore, Role
from ..errors import ConfigError
from .common import data_option

role_option = click.option(
    "--role",
    type=click.Choice(ROLES),
    default="operator",
    show_default=True,
    help="viewer: look; operator: also sonars and settings; admin: also users and plugins.",
)
ask_option = click.option("--ask", is_flag=True, help="Type a password instead of having one made.")


@click.group("users")
def users_command() -> None:
    """Who may log in: list, add, remove; new passwords; tokens for programs.

    Works also while the appliance runs, which takes it over within a second.
    """


@users_command.command("list")
@data_option
def list_users(data: Path) -> None:
    """List users and tokens; exit code 1 if nobody can log in."""
    store = _store(data)
    content = store.content
    for user in content.users.values():
        click.echo(f"{user.role:9} {user.name:24} password of {_date(user.changed_s)}")
    for token in content.tokens.values():
        used = f"used {_date(token.last_used_s)}" if token.last_used_s else "never used"
        click.echo(f"{token.role:9} {token.name:24} token of {_date(token.created_s)} by {token.created_by}, {used}")
    for text in filter(None, (store.warning, store.problem)):
        click.echo(text, err=True)
    raise SystemExit(1 if store.problem else 0)


@users_command.command("add")
@data_option
@click.argument("name")
@role_option
@ask_option
def add(data: Path, name: str, role: Role, ask: bool) -> None:
    """Add a user, and show the password that was made."""
    password = _password(ask)
    _store(data).add_user(name, role, password)
    _tell(f"{name}, {role}, can log in", password, ask)


@users_command.command("password")
@data_option
@click.argument("name")
@ask_option
def password_command(data: Path, name: str, ask: bool) -> None:
    """Give a user a new password; the user's logins end."""
    password = _password(ask)
    _store(data).change_user(name, password=password)
    _tell(f"{name} has a new password", password, ask)


@users_command.command("role")
@data_option
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
def role_command(data: Path, name: str, role: Role) -> None:
    """Change what a user may do; the user's logins end."""
    _store(data).change_user(name, role=role)
    click.echo(f"{name} is {role} now")


@users_command.command("remove")
@data_option
@click.argument("name")
def remove(data: Path, name: str) -> None:
    """Remove a user; the user's logins end."""
    _store(data).remove_user(name)
    click.echo(f"{name} is removed")


@users_command.command("token")
@data_option
@click.argument("name")
@role_option
def token_command(data: Path, name: str, role: Role) -> None:
    """Make a token with which a program does what ROLE may, and show it."""
    _, text = _store(data).add_token(name, role, "nims users")
    click.echo(f"{name}, {role}: shown once, kept as a hash only; sent as 'Authorization: Bearer TOKEN'", err=True)
    click.echo(text)


@users_command.command("revoke")
@data_option
@click.argument("name")
def revoke(data: Path, name: str) -> None:
    """Take a token back."""
    store = _store(data)
    for identity, token in store.content.tokens.items():
        if token.name == name:
            store.remove_token(identity)
            click.echo(f"token {name} is revoked")
            return
    raise AccessError(f"there is no token {name!r}")


def _store(data: Path) -> AccessStore:
    if not data.is_dir():
        raise ConfigError(f"there is no data folder {data}: name it with --data DIR")
    return AccessStore(data)


def _password(ask: bool) -> str:
    return click.prompt("Password", hide_input=True, confirmation_prompt=True) if ask else make_password()


def _tell(what: str, password: str, asked: bool) -> None:
    click.echo(what if asked else f"{what}. Shown once, kept as a hash only:\n{password}")


def _date(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(time_s))
