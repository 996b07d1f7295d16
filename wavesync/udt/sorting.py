"""Telling the datagrams apart that come to one UDP port.

In this order (``docs/udt.rst``, "One port"): a live socket id with a right source; handshakes;
STUN; what comes early for an attempt; what comes late for a closed connection; the rest is counted
and dropped.
"""

from collections.abc import Callable, Iterable

from twisted.logger import Logger

from wavesync.interfaces import Address, Burst
from wavesync.stun.message import is_stun
from wavesync.udt.accepting import Acceptor
from wavesync.udt.calls import ClientCall, Rendezvous
from wavesync.udt.carrier import Arrival
from wavesync.udt.closed import ClosedConnections
from wavesync.udt.handshake import (
    CALL,
    Handshake,
    HandshakeError,
    decode_handshake,
    is_handshake,
)
from wavesync.udt.link import Link
from wavesync.udt.packet import HEADER, HEADER_SIZE
from wavesync.udt.scanning import Cuts, consecutive, split_burst, strip
from wavesync.udt.sequence import MODULUS

__all__ = ["Sorter", "StunHandler"]

_FAILED = "Packets that came to a UDT port could not be taken."

StunHandler = Callable[[bytes, Address], None]


class Sorter:
    """Hands each datagram to whom it is for.

    :param acceptor: takes requests to the listener.
    :param send: sends a burst.
    :ivar links: live connections by socket id.
    :ivar calls: attempts by socket id; a rendezvous stays as long as its connection.
    :ivar tokens: rendezvous between wavesync ends by token.
    :ivar tokenless: rendezvous with ends that may be libudt.
    :ivar closed: recently closed connections.
    :ivar dropped: datagrams that were nobody's.
    """

    log = Logger()

    def __init__(self, acceptor: Acceptor, send: Callable[[Burst, Address], None]) -> None:
        self.links: dict[int, Link] = {}
        self.calls: dict[int, ClientCall | Rendezvous] = {}
        self.tokens: dict[int, Rendezvous] = {}
        self.tokenless: dict[Rendezvous, None] = {}
        self.closed = ClosedConnections()
        self.stun_handler: StunHandler | None = None
        self.dropped = 0
        self._acceptor = acceptor
        self._send = send
        # Data packets that came one behind the other, in several bursts: most of what a connection's turn
        # costs is the same for one and for many.
        self._link: Link | None = None  # whose they are
        self._source: Address = ("", 0)
        self._run = (0, 0, 0)  # the first, how many, the size of their payloads
        self._pieces: list[bytes] = []

    def knows(self, socket_id: int) -> bool:
        """:return: whether *socket_id* is not free for a new connection."""
        return socket_id in self.links or socket_id in self.calls or socket_id in self.closed

    def too_large(self, datagram: bytes, destination: Address, now: float) -> bool:
        """Tell the connection that a packet of its is too large for the way.

        :return: whether it must be sent all the same.
        """
        peer_id = int.from_bytes(datagram[12:HEADER_SIZE], "big")
        for link in self.links.values():
            if link.remote == destination and link.agreement.peer_id == peer_id:
                return link.connection.too_large(datagram, now)
        return False

    def take_all(self, arrivals: Iterable[Arrival], now: float) -> int:
        """Take all that came in one turn; whatever fails for one is logged.

        :return: how many bursts that were.
        """
        taken = 0
        try:
            for arrival in arrivals:
                taken += 1
                try:
                    self._take(arrival, now)
                except Exception:
                    # The reactor would close the socket of all for one's packet.
                    self.log.failure(_FAILED)
        finally:
            try:
                self._flush(now)
            except Exception:
                self.log.failure(_FAILED)
        return taken

    def take(self, arrival: Arrival, now: float) -> None:
        """Take a burst."""
        self._take(arrival, now)
        if self._link is not None:
            self._flush(now)

    def _take(self, arrival: Arrival, now: float) -> None:
        """Take a burst; its data may wait for :meth:`_flush`."""
        data, segment_size, source, cuts = arrival
        if len(data) <= segment_size:
            if self._link is not None:
                self._flush(now)
            if len(data) <= HEADER_SIZE or not self._take_next(data, source, now):
                self._take_one(data, source, now)
            return
        if self._take_data(data, segment_size, source, cuts, now):
            return
        view = memoryview(data)
        for start, stop in split_burst(view, segment_size):
            part = view[start:stop]
            if stop - start <= segment_size or not self._take_data(
                part, segment_size, source, None, now
            ):
                if self._link is not None:
                    self._flush(now)
                for at in range(0, len(part), segment_size):
                    self._take_one(part[at : at + segment_size], source, now)

    def _take_next(self, datagram: bytes | memoryview, source: Address, now: float) -> bool:
        """Take a datagram if it is the data packet that its connection waits for."""
        first, _, _, socket_id = HEADER.unpack_from(datagram)
        link = self.links.get(socket_id) if first < MODULUS else None
        if link is None or source not in link.sources:
            return False
        call = self.calls.get(socket_id)
        if call is not None and isinstance(call, Rendezvous) and call.unsettled:
            return False
        return link.receive_next(first, datagram, now)

    def _take_data(
        self,
        data: bytes | memoryview,
        segment_size: int,
        source: Address,
        cuts: Cuts | None,
        now: float,
    ) -> bool:
        """Take a burst if it is what most are: consecutive data packets of a live connection."""
        found = consecutive(data, segment_size, cuts)
        if found is None:
            return False
        number, count, socket_id = found
        link = self._link
        if link is not None:
            first, had, size = self._run
            if (
                number == first + had
                and size == segment_size - HEADER_SIZE
                and link.agreement.local_id == socket_id
                and source == self._source
            ):
                self._run = first, had + count, size
                self._pieces.append(strip(data, segment_size, cuts))
                if len(data) % segment_size:
                    self._flush(now)  # none but the last may be shorter
                return True
            self._flush(now)
        link = self.links.get(socket_id)
        if link is None or source not in link.sources or not link.shown:
            return False
        call = self.calls.get(socket_id)
        if call is not None and isinstance(call, Rendezvous) and call.unsettled:
            return False
        self._link = link
        self._source = source
        self._run = number, count, segment_size - HEADER_SIZE
        self._pieces = [strip(data, segment_size, cuts)]
        if len(data) % segment_size:
            self._flush(now)
        return True

    def _flush(self, now: float) -> None:
        """Hand the data that wait to their connection."""
        link, self._link = self._link, None
        pieces, self._pieces = self._pieces, []
        if link is not None:
            first, count, size = self._run
            link.receive_run(first, count, pieces, size, now)

    def _take_one(self, data: bytes | memoryview, source: Address, now: float) -> None:
        """Take one datagram."""
        socket_id = int.from_bytes(data[12:HEADER_SIZE], "big")
        link = self.links.get(socket_id)
        if link is not None and source in link.sources and not is_handshake(data):
            call = self.calls.get(socket_id)
            if call is not None and isinstance(call, Rendezvous) and call.unsettled:
                call.notice(source, now)
            link.receive(data, len(data), now)
        else:
            self._take_stray(bytes(data), socket_id, source, now)

    def _take_stray(self, datagram: bytes, socket_id: int, source: Address, now: float) -> None:
        """Take a datagram that is not for a live connection, or is a handshake."""
        if is_handshake(datagram):
            self._take_handshake(datagram, source, now)
        elif self.stun_handler is not None and is_stun(datagram):
            try:
                self.stun_handler(datagram, source)
            except Exception:
                self.log.failure("The STUN handler of a UDT port failed.")
        elif len(datagram) < HEADER_SIZE:
            self.dropped += 1
        elif socket_id in self.calls:
            self.calls[socket_id].traffic(datagram, len(datagram), source, now)
        else:
            answer = self.closed.answer(socket_id, datagram, source, now)
            if answer is None:
                self.dropped += 1
            else:
                self._send(Burst(answer, len(answer)), source)

    def _take_handshake(self, datagram: bytes, source: Address, now: float) -> None:
        try:
            packet = decode_handshake(datagram)
        except HandshakeError:
            self.dropped += 1
            return
        if packet.destination:
            call = self.calls.get(packet.destination)
            link = self.links.get(packet.destination)
            if call is not None:
                call.receive(packet, source, now)
            elif link is not None and source in link.sources:
                link.greet(packet, now)
            else:
                self.dropped += 1
        elif packet.request == CALL:
            self._take_call(packet, source, now)
        elif not self._take_repeated(packet, source, now):
            self.dropped += not self._acceptor.receive(packet, source, now)

    def _take_call(self, packet: Handshake, source: Address, now: float) -> None:
        """Take a handshake of a rendezvous peer that does not know our socket id."""
        met = self.tokens.get(packet.cookie)
        if met is None:
            met = next((call for call in self.tokenless if call.calls(source)), None)
        if met is None:
            self.dropped += 1
        else:
            met.receive(packet, source, now)

    def _take_repeated(self, packet: Handshake, source: Address, now: float) -> bool:
        """Answer a request that has been accepted already, if it is one."""
        socket_id = self._acceptor.listener.id_for(packet, source)
        link = None if socket_id is None else self.links.get(socket_id)
        if link is None:
            return False
        link.answer_again(now)
        return True
