"""Finding out how long the NAT in front of us keeps a mapping that is not used (RFC 5780 section 4.6).

Sans-I/O, with two local ports and a server that obeys RESPONSE-PORT.  The first port opens a mapping
and is silent for a while; then the second one asks the server to answer there.  Neither is the port
of anything else, so that no mapping that somebody needs is let die.

The search begins with the longest silence that matters.  Most routers pass that at once; where one
does not, the silence is halved and so on: at most five rounds, together less than two minutes.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

from wavesync.interfaces import Address
from wavesync.stun.attributes import (
    RESPONSE_PORT,
    SOFTWARE,
    TRANSACTION_ID_SIZE,
    StunError,
)
from wavesync.stun.behaviour_words import Lifetime
from wavesync.stun.binding_request import KNOWN_IN_ANSWER, mapped_address, numeric
from wavesync.stun.message import (
    BINDING,
    Message,
    MessageClass,
    decode,
    encode,
    unknown_required,
)
from wavesync.stun.pace import LONGEST_PAUSE, SHARE, SHORTEST_PAUSE
from wavesync.stun.script import ProbeScript
from wavesync.stun.transactions import Transactions

__all__ = ["LONGEST", "PRECISION", "SHORTEST", "LifetimeSearch"]

LONGEST = LONGEST_PAUSE / SHARE
"""Seconds of silence that are tried first.  Who lives longer needs no packet less."""

SHORTEST = SHORTEST_PAUSE / SHARE
"""Seconds of silence below which nothing is tried: no packet more is sent anyway."""

PRECISION = 2.5
"""Seconds to which a lifetime is found."""

_RTO = 0.5
_RM = 2.0
_ASKED = 4
"""Sendings of what opens a mapping: after 0, 0.5, 1.5 and 3.5 s."""
_TESTED = 2
"""Sendings of what tests one: the second only where the first is not answered."""

_FILLER = b"a longer request than its answer, so that nobody gains by it...."


@dataclass(slots=True, eq=False)
class _Probe:
    """One request, and what became of it.

    :ivar second: sent from the second port.
    :ivar at_second: its answer has to come to the second port.
    :ivar sendings: how often it is sent at most.
    """

    transaction_id: bytes
    request: bytes
    destination: Address
    second: bool
    at_second: bool
    sendings: int
    over: bool = False
    refused: bool = False
    mapped: Address | None = None


_Script: TypeAlias = Generator[list[_Probe] | float, None, Lifetime | str]


class LifetimeSearch(ProbeScript[_Probe, Lifetime | str]):
    """One search.

    :param server: whom to ask.
    :param random: gives so many random bytes.
    :param now: seconds.
    :param longest: the longest silence to try, in seconds.
    :ivar outcome: None while searching; what was found; or a sentence that says why nothing was.
    :raises BindingFailed: the server's host is not numeric.
    """

    def __init__(
        self,
        server: Address,
        random: Callable[[int], bytes],
        now: float,
        *,
        longest: float = LONGEST,
    ) -> None:
        self.server = numeric(server)
        self._random = random
        self._longest = longest
        super().__init__(self._script(), now)

    def datagram_received(
        self, data: bytes, source: Address, now: float, *, second: bool = False
    ) -> None:
        """Take a datagram; anything but what was asked for is dropped.

        :param second: it came to the second local port.
        """
        try:
            message = decode(data)
            probe = self._probes.get(message.transaction_id)
            if probe is None or probe.over:
                return
            if message.message_class is MessageClass.SUCCESS and second is not probe.at_second:
                return
            if self._transactions.receive(message, source, now) is None:
                return
            probe.over = True
            if message.message_class is MessageClass.ERROR:
                probe.refused = True
            elif not unknown_required(message, KNOWN_IN_ANSWER):
                probe.mapped = mapped_address(message)
        except StunError:
            return
        self._advance(now)

    def _new_transactions(self, step: list[_Probe]) -> Transactions:
        return Transactions(rto=_RTO, rc=step[0].sendings, rm=_RM, limit=2)

    def _script(self) -> _Script:
        opened, beside = self._open(), self._open(second=True)
        yield [opened, beside]
        mapped = opened.mapped
        if mapped is None or beside.mapped is None:
            return "The STUN server does not answer over UDP."
        if mapped[0] != beside.mapped[0]:
            return "The two local ports are not seen at one address."
        alive, silence = 0.0, 0.0
        gone: float | None = None
        while True:
            yield silence
            test = self._test(mapped[1])
            yield [test]
            if test.refused or (test.mapped is None and not silence):
                return "The STUN server does not send answers to another port."
            if test.mapped is None:
                gone = silence
            else:
                alive = silence
            if gone is None:
                if alive >= self._longest:
                    break
                silence = self._longest
            elif gone - alive <= PRECISION or gone <= SHORTEST:
                break
            else:
                silence = (alive + gone) / 2
            opened = self._open()
            yield [opened]
            mapped = opened.mapped
            if mapped is None:
                return "The STUN server does not answer any more."
        return Lifetime(alive, gone)

    def _open(self, *, second: bool = False) -> _Probe:
        """Open a mapping of a port, or renew it, and see where it is."""
        return self._probe((), _ASKED, second, second)

    def _test(self, port: int) -> _Probe:
        """Have the second port ask for an answer at *port*, which the first one should get."""
        attributes = ((RESPONSE_PORT, port.to_bytes(2, "big")), (SOFTWARE, _FILLER))
        return self._probe(attributes, _TESTED, True, False)

    def _probe(
        self,
        attributes: tuple[tuple[int, bytes], ...],
        sendings: int,
        second: bool,
        at_second: bool,
    ) -> _Probe:
        transaction_id = self._random(TRANSACTION_ID_SIZE)
        request = encode(Message(BINDING, MessageClass.REQUEST, transaction_id, attributes))
        return _Probe(transaction_id, request, self.server, second, at_second, sendings)
