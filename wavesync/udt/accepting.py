"""A port's listener: its decisions carried out, its connections made."""

from collections import Counter
from typing import Protocol as TypingProtocol

from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from wavesync.interfaces import Address, Burst
from wavesync.udt.cookies import CookieJar
from wavesync.udt.courtesy import Courtesy
from wavesync.udt.handshake import Agreement, Handshake, Offer, agree
from wavesync.udt.link import Link
from wavesync.udt.listening import Accept, Listener
from wavesync.udt.transport import udt_address

__all__ = ["Acceptor"]


class Opener(TypingProtocol):
    """What an acceptor asks of its port."""

    def send(self, burst: Burst, remote: Address) -> None:
        """Send a burst."""

    def offer(self, *remotes: Address) -> Offer:
        """:return: a new offer of ours to these addresses."""

    def open(
        self,
        agreement: Agreement,
        remote: Address,
        sources: tuple[Address, ...],
        *,
        answer: bytes | None = None,
        courtesy: Courtesy | None = None,
    ) -> Link:
        """Make the link for what was agreed on."""


class Acceptor:
    """Accepts clients.

    :param port: where the connections live.
    :param key: key for cookies.
    :ivar factory: makes a protocol for each client; ``None`` while nobody listens.
    :ivar listener: the decisions.
    """

    log = Logger()

    def __init__(self, port: Opener, key: bytes) -> None:
        self.factory: IProtocolFactory | None = None
        self.listener = Listener(CookieJar(key))
        self._port = port
        self._trusted: Counter[Address] = Counter()

    def trust(self, address: Address) -> None:
        """One more authenticated connection with *address*: it needs no cookie."""
        self._trusted[address] += 1

    def untrust(self, address: Address) -> None:
        """One less."""
        self._trusted[address] -= 1
        if self._trusted[address] <= 0:
            del self._trusted[address]

    def receive(self, packet: Handshake, source: Address, now: float) -> bool:
        """Take a handshake that came to socket id 0.

        :return: whether there was anything to do about it.
        """
        if self.factory is None:
            return False
        trusted = source in self._trusted
        decision = self.listener.receive(packet, source, now, trusted=trusted)
        if decision is None:
            return False
        if isinstance(decision, Accept):
            self._accept(decision, self.factory, now, trusted)
        else:
            self._reply(decision.datagram, source)
        return True

    def _reply(self, datagram: bytes, source: Address) -> None:
        self._port.send(Burst(datagram, len(datagram)), source)

    def _accept(self, accept: Accept, factory: IProtocolFactory, now: float, trusted: bool) -> None:
        """Make the link for an accepted request, or refuse it if the factory makes no protocol."""
        source, request = accept.source, accept.request
        try:
            protocol = factory.buildProtocol(udt_address(source))
        except Exception:
            self.log.failure("A protocol factory failed; the client is refused.")
            protocol = None
        if protocol is None:
            self._reply(self.listener.refusal(request).datagram, source)
            return
        offer = self._port.offer(source)
        agreement = agree(offer, request, send_isn=request.isn, receive_isn=request.isn)
        answer = self.listener.accepted(accept, offer)
        self._reply(answer, source)
        courtesy = Courtesy(now, wavesync=request.wavesync or trusted)
        link = self._port.open(agreement, source, (source,), answer=answer, courtesy=courtesy)
        link.attach(protocol)
