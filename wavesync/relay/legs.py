"""What a join needs to know of a leg's transport: what is beneath it, and who gets its bytes."""

from twisted.internet.interfaces import IProtocol, ITransport
from twisted.internet.tcp import Connection
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper  # it has no public name
from twisted.protocols.policies import ProtocolWrapper

__all__ = ["attach", "bottom", "emptied", "half_close", "plain", "send_now"]


def plain(transport: ITransport) -> Connection | None:
    """Find the TCP connection whose bytes are the leg's bytes.

    :return: ``None`` when something changes the bytes on the way: TLS, or anything unknown.
    """
    inner: object = transport
    while isinstance(inner, HAProxyProtocolWrapper):
        # Once the header of the PROXY protocol is off it changes nothing.
        inner = inner.transport
    return inner if isinstance(inner, Connection) and not inner.TLS else None


def bottom(transport: ITransport) -> object:
    """:return: what a transport is built on in the end: a TCP connection, mostly."""
    inner: object = transport
    while isinstance(inner, ProtocolWrapper):
        inner = inner.transport
    return inner


def emptied(connection: Connection) -> bool:
    """Tell whether Twisted has sent all that was written; it has no public word for that."""
    return not connection._tempDataLen and connection.offset == len(connection.dataBuffer)


def send_now(transport: ITransport, data: bytes) -> None:
    """Write, and at once: Twisted's own writing waits for the next turn of the reactor.

    What the kernel does not take now goes the usual way; where something is wrong, all of it, so
    that it is found out as ever.
    """
    connection = plain(transport)
    if connection is not None and connection.connected and emptied(connection):
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
