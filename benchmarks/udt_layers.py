"""What the product puts on UDT, for :mod:`benchmarks.udt_end`: nothing, TLS, or a whole session."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory

from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.session.client import connect_session
from wavesync.session.sealing import ClientTLSFactory, ServerTLSFactory
from wavesync.session.server import ServerSessionFactory
from wavesync.session.tls import client_context, server_context

__all__ = ["Dial", "Layers", "load_client", "load_server", "make_credentials"]

_SERVER = "server.credentials"
_CLIENT = "client.credentials"
_SERVICE = "benchmark"

Dial = Callable[[IProtocolFactory], Deferred[IProtocol]]
"""Makes one UDT connection."""


def make_credentials(directory: Path) -> None:
    """Make a system of one server and one client.

    :param directory: takes their files.
    """
    system = SystemCredentials.create(())
    now = time.time()
    system.add_server(now=now).save(directory / _SERVER)
    system.add_client("benchmark", now=now).save(directory / _CLIENT)


def load_server(directory: Path) -> Credentials:
    """Load what :func:`make_credentials` made for the server."""
    return Credentials.load(str(directory / _SERVER), now=time.time())


def load_client(directory: Path) -> Credentials:
    """Load what :func:`make_credentials` made for the client."""
    return Credentials.load(str(directory / _CLIENT), now=time.time())


class Layers:
    """What is between UDT and the protocol that is measured.

    :param reactor: keeps the time.
    :param kind: empty, ``tls`` or ``session``.
    :param directory: of :func:`make_credentials`.
    """

    def __init__(self, reactor: Any, kind: str, directory: Path) -> None:
        if kind not in ("", "tls", "session"):
            raise ValueError(f"there is no layer {kind!r}")
        self.reactor = reactor
        self._kind = kind
        self.directory = directory

    def listening(self, factory: IProtocolFactory) -> IProtocolFactory:
        """Give what listens so that the factory's protocols serve."""
        if not self._kind:
            return factory
        credentials = load_server(self.directory)
        if self._kind == "tls":
            context = server_context(credentials)
            tls: IProtocolFactory = ServerTLSFactory(context, False, factory, self.reactor)
            return tls
        return ServerSessionFactory(credentials, lambda service, peer: factory, self.reactor)

    async def connected(self, dial: Dial, factory: IProtocolFactory) -> IProtocol:
        """Connect a protocol of the factory."""
        if not self._kind:
            return await dial(factory)
        credentials, target = load_client(self.directory), load_server(self.directory).target
        if self._kind == "tls":
            context = client_context(credentials, target)
            tls = await dial(ClientTLSFactory(context, True, factory, self.reactor))
            inner: IProtocol = tls.wrappedProtocol  # type: ignore[attr-defined]
            return inner
        below, authenticated = connect_session(credentials, target, self.reactor)
        await dial(below)
        session = await authenticated
        protocol = factory.buildProtocol(session.path_peer())
        assert protocol is not None
        return await session.open(_SERVICE, protocol)
