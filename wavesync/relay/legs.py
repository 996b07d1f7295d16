"""What a join needs to know of a leg's transport: what is beneath it, and who gets its bytes."""

import socket

from twisted.internet.interfaces import IProtocol, ITransport
from twisted.internet.tcp import Connection
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper  # it has no public name
from twisted.protocols.policies import ProtocolWrapper

from wavesync.tcp.plain import PlainConnection
from wavesync.watch import Watched

__all__ = ["attach", "bottom", "half_close", "plain", "release", "send_now"]


def plain(transport: ITransport) -> Connection | PlainConnection | None:
    """Find the TCP connection whose bytes are the leg's bytes.

    :return: ``None`` when something changes the bytes on the way: TLS, or anything unknown.
    """
    if isinstance(transport, PlainConnection):
        return transport
    inner: object = transport
    while isinstance(inner, HAProxyProtocolWrapper):
        # Once the header of the PROXY protocol is off it changes nothing.
        inner = inner.transport
    if isinstance(inner, PlainConnection):
        return inner
    return inner if isinstance(inner, Connection) and not inner.TLS else None


def bottom(transport: ITransport) -> object:
    """:return: what a transport is built on in the end: a TCP connection, mostly."""
    inner: object = transport
    while isinstance(inner, ProtocolWrapper):
        inner = inner.transport
    return inner


def release(transport: ITransport, successor: Watched) -> tuple[socket.socket, bytes, int]:
    """Take the socket out of a plain transport; neither that nor its protocol hears any more of it.

    :param transport: one of which :func:`plain` finds the connection.
    :param successor: who has it from now on.
    :return: the socket; what was written and has not left; of which events *successor* is told already.
    """
    inner: object = transport
    while isinstance(inner, HAProxyProtocolWrapper):
        inner.factory.unregisterProtocol(inner)
        inner = inner.transport
    if isinstance(inner, PlainConnection):
        unsent = inner.unsent
        return inner.socket, unsent, inner.release(successor)
    assert isinstance(inner, Connection), "whoever asks for it has looked"
    inner.stopReading()
    inner.stopWriting()
    unsent = inner.dataBuffer[inner.offset :] + b"".join(inner._tempDataBuffer)
    # Twisted's transports have no way out of a socket but to be over.
    inner.connected, inner.disconnected = 0, 1
    taken = inner.socket
    del inner.socket, inner.fileno, inner.protocol
    return taken, unsent, 0


def _emptied(connection: Connection) -> bool:
    """Tell whether Twisted has sent all that was written; it has no public word for that."""
    return not connection._tempDataLen and connection.offset == len(connection.dataBuffer)


def send_now(transport: ITransport, data: bytes) -> None:
    """Write, and at once: Twisted's own writing waits for the next turn of the reactor.

    What the kernel does not take now goes the usual way; where something is wrong, all of it, so
    that it is found out as ever.
    """
    connection = plain(transport)
    if isinstance(connection, Connection) and connection.connected and _emptied(connection):
        sent = connection.writeSomeData(data)
        if isinstance(sent, int) and sent > 0:
            data = data[sent:]
    if data:
        transport.write(data)


def attach(transport: ITransport, protocol: IProtocol) -> None:
    """Have another protocol get all that a transport brings; the one before hears nothing more."""
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol  # type: ignore[attr-defined]


def half_close(transport: ITransport) -> None:
    """Say that nothing more comes, after what was written, and go on reading.

    TLS goes on reading after its ``loseConnection`` until the peer has said so as well
    (:mod:`wavesync.relay.half_closing`).
    """
    connection = plain(transport)
    if connection is not None:
        connection.loseWriteConnection()
    else:
        transport.loseConnection()
