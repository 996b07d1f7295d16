"""``wavesync system``: makes a system, its servers' and clients' credentials, and shows them."""

import argparse
import getpass
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavesync.cli.commands import COMMANDS, new_parser
from wavesync.cli.system_revoke import revoke
from wavesync.cli.system_show import show
from wavesync.errors import NotAllowed, SettingsError
from wavesync.identity.certificates import DEFAULT_DAYS
from wavesync.identity.files import check_mediators, check_relays, default_directory
from wavesync.identity.issued import issued_path, record_issued
from wavesync.identity.keys import MAX_PASSPHRASE
from wavesync.identity.system import SystemCredentials, SystemFile

if TYPE_CHECKING:
    from wavesync.cli.commands import Subparsers

__all__ = ["add_parser", "run_command"]

_EXAMPLES = """\
examples, from nothing to a server and a client that know each other:

  # On a machine that stays offline, or at least is well kept:
  wavesync system create --mediator mediator.example.org
  wavesync system add-server --name warehouse --output server.pem
  wavesync system add-client alice --output alice.pem

  # server.pem goes to the server and alice.pem to Alice, both as
  # ~/.config/wavesync/server.pem and client.pem.  See what one has:
  wavesync system show server.pem

  # The server's disk was lost: the same server, another key.
  wavesync system add-server --server-id 00112233445546778899aabbccddeeff --output server.pem

  # Alice's laptop was stolen: her credentials count no more once an agent has the list.
  wavesync system revoke alice
"""

_CREATE = """\
examples:
  wavesync system create --mediator mediator.example.org
  wavesync system create --mediator udp://192.0.2.1:3345 --ask-passphrase
  wavesync system create --mediator mediator.example.org --relay https://relay.example.org
  wavesync system create --directory /media/stick --passphrase-file passphrase.txt
"""

_ADD_SERVER = """\
examples:
  wavesync system add-server --name warehouse --output server.pem
  wavesync system add-server --system /media/stick/system.pem --days 365 --output server.pem
  wavesync system add-server --server-id ID --output server.pem      (a new key for the same server)
"""

_ADD_CLIENT = """\
examples:
  wavesync system add-client alice --output alice.pem
  wavesync system add-client control-room --days 30
"""

_REVOKE = """\
examples:
  wavesync system revoke bob                     (every certificate that bob was given so far)
  wavesync system revoke 00112233445546778899aabbccddeeff alice
  wavesync system revoke /media/stick/stolen.pem --system /media/stick/system.pem

It writes the system's next revocation list; copy that to any one agent (crl in its agent.toml).
Whoever was revoked can be given new credentials under the same name: they work.
"""

_SHOW = """\
examples:
  wavesync system show                    (all that is in the default directory)
  wavesync system show server.pem
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the parser of ``wavesync system``."""
    system = new_parser(subparsers, "system", COMMANDS["system"], _EXAMPLES)
    actions = system.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")

    create = new_parser(actions, "create", "make a new system's key file, system.pem", _CREATE)
    _add_mediator(create, "a mediator of the system, written into all credentials made later")
    _add_relay(create, "a relay of the system, written into all credentials made later")
    secret = create.add_mutually_exclusive_group()
    _add_passphrase_file(secret, "encrypt the key under the first line of FILE")
    secret.add_argument(
        "--ask-passphrase", action="store_true", help="encrypt the key under a passphrase you type"
    )

    server = new_parser(actions, "add-server", "make a server's credentials", _ADD_SERVER)
    server.add_argument("--name", metavar="LABEL", default="", help="what people call the server")
    server.add_argument(
        "--server-id", metavar="ID", help="make a new key for the server that has this id"
    )
    _add_issuing(server, "server.pem")

    client = new_parser(actions, "add-client", "make a client's credentials", _ADD_CLIENT)
    client.add_argument(
        "name", metavar="NAME", help="who or what the client is: a-z, 0-9, dot, underscore, hyphen"
    )
    _add_issuing(client, "client.pem")

    revoked = new_parser(
        actions, "revoke", "take certificates of servers and clients back", _REVOKE
    )
    revoked.add_argument(
        "who",
        metavar="WHO",
        nargs="*",
        help="a client's name, a server's id (all certificates issued for it so far are revoked), or"
        " a file with the certificate or the credentials",
    )
    revoked.add_argument(
        "--serial",
        metavar="HEX",
        action="append",
        default=[],
        help="revoke the certificate with this serial number; may be repeated",
    )
    _add_system(revoked)
    revoked.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="the revocation list to extend and replace (default: revoked-SYSTEM.pem beside the"
        " system's key file)",
    )

    show = new_parser(
        actions, "show", "show ids, names, validity, what is revoked; no secrets", _SHOW
    )
    show.add_argument("file", metavar="FILE", nargs="?", type=Path, help="one file of credentials")

    for parser in (create, server, client):
        parser.add_argument("--force", action="store_true", help="replace a file that is there")
    for parser in (create, server, client, revoked, show):
        parser.add_argument(
            "--directory",
            metavar="DIR",
            type=Path,
            help="where the files are kept (default: ~/.config/wavesync)",
        )


def run_command(
    arguments: argparse.Namespace,
    *,
    clock: Callable[[], float] = time.time,
    ask: Callable[[str], str] = getpass.getpass,
) -> int:
    """Do what was asked.

    :param clock: gives seconds since the epoch.
    :param ask: asks a person for a secret.
    :return: 0; errors are raised as :class:`~wavesync.errors.WavesyncError`.
    """
    if arguments.directory is None:
        arguments.directory = default_directory()
    match arguments.action:
        case "create":
            _create(arguments, ask)
        case "add-server" | "add-client":
            _add_credentials(arguments, clock(), ask)
        case "show":
            sys.stdout.write(show(arguments, clock()))
        case "revoke":
            _revoke(arguments, clock(), ask)
    return 0


def _create(arguments: argparse.Namespace, ask: Callable[[str], str]) -> None:
    system = SystemCredentials.create(
        check_mediators(arguments.mediator or ()), check_relays(arguments.relay or ())
    )
    path = arguments.directory / "system.pem"
    passphrase = None
    if arguments.passphrase_file is not None:
        passphrase = _read_passphrase(arguments.passphrase_file)
    elif arguments.ask_passphrase:
        passphrase = _ask(ask, "Passphrase for the system's key: ")
        if _ask(ask, "The same again: ") != passphrase:
            raise SettingsError("the two passphrases are not the same; nothing was made.")
    system.save(path, passphrase=passphrase, force=arguments.force)
    print(f"Made system {system.system} in {path}")
    print("Keep this file offline: whoever has it can add servers and clients.")


def _unlock(
    arguments: argparse.Namespace, ask: Callable[[str], str]
) -> tuple[SystemFile, SystemCredentials]:
    file = SystemFile.load(arguments.system or arguments.directory / "system.pem")
    passphrase = None
    if file.encrypted and arguments.passphrase_file is not None:
        passphrase = _read_passphrase(arguments.passphrase_file)
    elif file.encrypted:
        passphrase = _ask(ask, f"Passphrase of {file.path}: ")
    return file, file.unlock(passphrase)


def _revoke(arguments: argparse.Namespace, now: float, ask: Callable[[str], str]) -> None:
    if not arguments.who and not arguments.serial:
        raise SettingsError("say whom to revoke: a client's name, a server's id, or a file.")
    file, system = _unlock(arguments, ask)
    sys.stdout.write(revoke(file, system, arguments.who, arguments.serial, arguments.output, now))


def _add_credentials(arguments: argparse.Namespace, now: float, ask: Callable[[str], str]) -> None:
    file, system = _unlock(arguments, ask)
    mediators = None if arguments.mediator is None else check_mediators(arguments.mediator)
    relays = None if arguments.relay is None else check_relays(arguments.relay)
    if arguments.action == "add-server":
        credentials = system.add_server(
            now=now,
            server_id=arguments.server_id,
            label=arguments.name,
            days=arguments.days,
            mediators=mediators,
            relays=relays,
        )
    else:
        credentials = system.add_client(
            arguments.name, now=now, days=arguments.days, mediators=mediators, relays=relays
        )
    path = arguments.output or arguments.directory / f"{credentials.role.value}.pem"
    # Before it is handed out, so that it can be revoked by its name.
    unrecorded = ""
    try:
        record_issued(issued_path(file.path.parent, file.system), credentials.leaf)
    except SettingsError as error:
        unrecorded = f"It is not recorded, so revoking it will need this very file: {error}"
    credentials.save(path, force=arguments.force)
    print(f"Made {credentials.role.value} {credentials.peer.text} in {path}")
    if unrecorded:
        print(unrecorded)
    if not credentials.mediators:
        print("It names no mediator: give --mediator URL here, or to system create.")


def _read_passphrase(path: Path) -> bytes:
    """Give a file's first line."""
    try:
        with open(path, "rb") as file:
            line = file.readline(MAX_PASSPHRASE + 3)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    return line.rstrip(b"\r\n")


def _ask(ask: Callable[[str], str], prompt: str) -> bytes:
    try:
        return ask(prompt).encode()
    except (EOFError, OSError):
        raise NotAllowed(
            "nobody is there to type the passphrase: give it with --passphrase-file."
        ) from None


def _add_issuing(parser: argparse.ArgumentParser, output: str) -> None:
    """Add what making a server's and a client's credentials has in common."""
    _add_system(parser)
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help=f"where to put it (default: DIR/{output})"
    )
    parser.add_argument(
        "--days",
        metavar="N",
        type=int,
        default=DEFAULT_DAYS,
        help=f"how long the certificate is valid (default: {DEFAULT_DAYS}, ten years)",
    )
    _add_mediator(parser, "name this mediator instead of the system's")
    _add_relay(parser, "name this relay instead of the system's")


def _add_system(parser: argparse.ArgumentParser) -> None:
    """Add what everything that needs the system's key has in common."""
    parser.add_argument(
        "--system",
        metavar="FILE",
        type=Path,
        help="the system's key file (default: DIR/system.pem)",
    )
    _add_passphrase_file(parser, "the system key's passphrase is the first line of FILE")


def _add_mediator(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--mediator",
        metavar="URL",
        action="append",
        help=f"{text}: a host name, or udp://HOST:PORT, tcp://HOST:PORT, http://HOST:PORT or"
        " https://HOST:PORT by itself; may be repeated",
    )


def _add_relay(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--relay",
        metavar="URL",
        action="append",
        help=f"{text}: HOST:PORT, http://HOST:PORT or https://HOST:PORT; may be repeated",
    )


def _add_passphrase_file(parser: Any, text: str) -> None:
    parser.add_argument("--passphrase-file", metavar="FILE", type=Path, help=text)
