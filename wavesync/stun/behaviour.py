"""Finding out how the NAT in front of us behaves, with a server that has two addresses (RFC 5780).

Sans-I/O.  The tests are a script, :meth:`BehaviourDiscovery._script`: each step sends some probes
and goes on when all are over.

There are two local ports, because one test spoils another: asking the server's second address (for
the mapping) opens the filter for it, and an answer from there that an open filter lets in makes
many NATs send back through the mapping by which it came.  So the first port tests the mapping and
the second one the filtering, at the same time.
"""

import ipaddress
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from wavesync.interfaces import Address
from wavesync.stun.attributes import (
    CHANGE_REQUEST,
    ERROR_CODE,
    OTHER_ADDRESS,
    RESPONSE_PORT,
    TRANSACTION_ID_SIZE,
    StunError,
    decode_address,
    decode_error_code,
    encode_u32,
)
from wavesync.stun.behaviour_words import Behaviour, Dependence, Lifetime
from wavesync.stun.binding_request import KNOWN_IN_ANSWER, mapped_address, numeric
from wavesync.stun.message import (
    BINDING,
    Message,
    MessageClass,
    decode,
    encode,
    unknown_required,
)
from wavesync.stun.script import Outgoing, ProbeScript
from wavesync.stun.transactions import DEFAULT_RTO, Transactions

__all__ = [
    "PRECISION",
    "SENDINGS",
    "SHORTEST_LIFETIME",
    "SHORTEST_STEP",
    "WAIT",
    "BehaviourDiscovery",
    "Outgoing",
]

SENDINGS = 4
"""How often a probe is sent before its silence counts as an answer."""

WAIT = 4.0
"""The wait after the last sending, in RTOs: with 0.5 s a silent probe takes 5.5 s."""

SHORTEST_LIFETIME = 10.0
"""Seconds without traffic at which the search for a mapping's lifetime begins."""

PRECISION = 0.1
"""Part of a mapping's lifetime to which it is found, or :data:`SHORTEST_STEP`."""

SHORTEST_STEP = 1.0
"""Seconds to which a lifetime is found at best."""

_NOT_THE_SECOND = "did not answer our second port."

_CHANGE_PORT = 2
_CHANGE_BOTH = 6


@dataclass(slots=True)
class _Probe:
    """One request, and what became of it.

    :ivar origin: where its answer must come from.
    :ivar second: sent from the second port.
    :ivar arrival: whether what it is about arrives at the second port.
    :ivar echo: it is itself what shall arrive, as a request.
    :ivar spares: probes that need not be waited for once this one has succeeded.
    :ivar succeeded: what was hoped for has arrived.
    :ivar mapped: our address, in the answer.
    :ivar failure: the end of a sentence that begins with the server, where it has answered wrongly.
    """

    transaction_id: bytes
    request: bytes
    destination: Address
    origin: Address
    second: bool
    arrival: bool
    echo: bool = False
    spares: list["_Probe"] = field(default_factory=list)
    over: bool = False
    succeeded: bool = False
    mapped: Address | None = None
    other: Address | None = None
    failure: str = ""


_Step: TypeAlias = list[_Probe] | float
_Script: TypeAlias = Generator[_Step, None, None]


class BehaviourDiscovery(ProbeScript[_Probe, Behaviour]):
    """Asks one server, step by step, and concludes.

    The second local port must not have been in contact with the server's second address lately.

    :param server: its first address.
    :param random: gives so many random bytes.
    :param now: seconds.
    :param local: our own address, as the first local port has it; without it nobody can tell
        whether there is any translation.
    :param lifetime: the longest lifetime to look for, in seconds; 0 for not at all.  The search
        takes a few times as long, all of it silence but for some datagrams.
    :param rto: seconds to the first retransmission.
    :ivar outcome: what was found, or None while asking.
    :raises BindingFailed: the server's host is not numeric.
    """

    def __init__(
        self,
        server: Address,
        random: Callable[[int], bytes],
        now: float,
        *,
        local: Address | None = None,
        lifetime: float = 0.0,
        rto: float = DEFAULT_RTO,
    ) -> None:
        self.server = numeric(server)
        self._random = random
        self._local = local
        self._longest = float(lifetime)
        self._rto = rto
        self._facts: dict[str, object] = {}
        self._why: dict[str, str] = {}
        super().__init__(self._whole(), now)

    # What a shell calls.

    def datagram_received(
        self, data: bytes, source: Address, now: float, *, second: bool = False
    ) -> None:
        """Take a datagram; anything but what was asked for is dropped.

        :param second: it came to the second local port.
        """
        try:
            message = decode(data)
        except StunError:
            return
        probe = self._probes.get(message.transaction_id)
        if probe is None or probe.over or message.method != BINDING:
            return
        if probe.echo:
            if message.message_class is not MessageClass.REQUEST or second is not probe.arrival:
                return
            probe.succeeded = True
        else:
            if self._transactions.receive(message, probe.destination, now) is None:
                return
            try:
                self._read(probe, message, source, second)
            except StunError as error:
                probe.failure = f"sent an answer that cannot be used: {error}"
        self._end(probe)
        if probe.succeeded:
            for spared in probe.spares:
                self._end(spared)
        self._advance(now)

    # Steps.

    def _new_transactions(self, step: list[_Probe]) -> Transactions:
        return Transactions(rto=self._rto, rc=SENDINGS, rm=WAIT, limit=8)

    def _end(self, probe: _Probe) -> None:
        probe.over = True
        self._transactions.cancel(probe.transaction_id, probe.destination)

    def _probe(
        self,
        destination: Address,
        *attributes: tuple[int, bytes],
        origin: Address | None = None,
        second: bool = False,
        arrival: bool | None = None,
        echo: bool = False,
    ) -> _Probe:
        transaction_id = self._random(TRANSACTION_ID_SIZE)
        request = encode(Message(BINDING, MessageClass.REQUEST, transaction_id, attributes))
        return _Probe(
            transaction_id,
            request,
            destination,
            origin or destination,
            second,
            second if arrival is None else arrival,
            echo,
        )

    def _read(self, probe: _Probe, message: Message, source: Address, second: bool) -> None:
        """Take in the answer to *probe*.

        :raises StunError: it is malformed.
        """
        if unknown_required(message, KNOWN_IN_ANSWER):
            raise StunError("it has attributes that must be understood and are not.")
        if message.message_class is MessageClass.ERROR:
            error = decode_error_code(message.get(ERROR_CODE) or b"")
            probe.failure = f"refused with error {error.code}."
        elif source != probe.origin:
            probe.failure = f"answered from {_text(source)} instead of {_text(probe.origin)}."
        elif second is not probe.arrival:
            probe.failure = "answered to another port than it was asked to."
        else:
            probe.mapped = mapped_address(message)
            other = message.get(OTHER_ADDRESS)
            probe.other = None if other is None else decode_address(other)
            probe.succeeded = True

    # The script.

    def _whole(self) -> Generator[_Step, None, Behaviour]:
        yield from self._script()
        return Behaviour(**self._facts, unknown=self._why)  # type: ignore[arg-type]

    def _script(self) -> _Script:
        """All tests, in an order in which none spoils a later one."""
        first, beside = self._probe(self.server), self._probe(self.server, second=True)
        yield [first, beside]
        if first.mapped is None:
            why = self._complaint(first, "did not answer over UDP.")
            self._why = dict.fromkeys(
                ("translated", "mapping", "filtering", "hairpinning", "lifetime"), why
            )
            return
        self._facts["mapped"] = (first.mapped,)
        if self._local is None:
            self._why["translated"] = "Our own address is not known."
        else:
            self._facts["translated"] = first.mapped != numeric(self._local)
        hairpin = self._hairpin_probes(first, beside)
        other = first.other
        if other is None or not _is_second(other, self.server):
            what = "tells of no second address." if other is None else "tells of an impossible one."
            why = self._complaint(first, what)
            self._why.update(mapping=why, filtering=why)
            yield hairpin
        else:
            yield from self._test_mapping_and_filtering(first.mapped, beside, other, hairpin)
        if hairpin:
            self._facts["hairpinning"] = any(probe.succeeded for probe in hairpin)
        yield from self._test_lifetime(first.mapped, beside)

    def _test_mapping_and_filtering(
        self, mapped: Address, beside: _Probe, other: Address, hairpin: list[_Probe]
    ) -> _Script:
        """Sections 4.3 and 4.4, on a port each."""
        both = self._probe(self.server, _change(_CHANGE_BOTH), origin=other, second=True)
        port = self._probe(
            self.server,
            _change(_CHANGE_PORT),
            origin=(self.server[0], other[1]),
            second=True,
        )
        both.spares.append(port)
        near, far = self._probe((other[0], self.server[1])), self._probe(other)
        yield [near, far, *hairpin] if beside.mapped is None else [near, far, both, port, *hairpin]
        self._facts["mapped"] = tuple(
            each for each in (mapped, near.mapped, far.mapped) if each is not None
        )
        self._conclude_mapping(mapped, near, far)
        if beside.mapped is None:
            self._why["filtering"] = self._complaint(beside, _NOT_THE_SECOND)
        elif both.succeeded:
            self._facts["filtering"] = Dependence.ENDPOINT_INDEPENDENT
        elif both.failure or port.failure:
            self._why["filtering"] = self._complaint(both if both.failure else port, "")
        elif port.succeeded:
            self._facts["filtering"] = Dependence.ADDRESS_DEPENDENT
        elif near.succeeded or far.succeeded:
            self._facts["filtering"] = Dependence.ADDRESS_AND_PORT_DEPENDENT
        else:
            self._why["filtering"] = self._complaint(far, "is silent on its second address.")

    def _conclude_mapping(self, mapped: Address, near: _Probe, far: _Probe) -> None:
        if mapped in (near.mapped, far.mapped):
            self._facts["mapping"] = Dependence.ENDPOINT_INDEPENDENT
        elif near.mapped is None or far.mapped is None:
            failed = far if far.mapped is None else near
            self._why["mapping"] = self._complaint(failed, "is silent on its second address.")
        elif near.mapped == far.mapped:
            self._facts["mapping"] = Dependence.ADDRESS_DEPENDENT
        else:
            self._facts["mapping"] = Dependence.ADDRESS_AND_PORT_DEPENDENT

    def _hairpin_probes(self, first: _Probe, beside: _Probe) -> list[_Probe]:
        """Both local ports send to each other's outside address (section 4.5).

        Both, because a filter lets in only those that were sent to.
        """
        if self._facts.get("translated") is False:
            self._why["hairpinning"] = "Nothing is translated."
        elif first.mapped is None or beside.mapped is None:
            self._why["hairpinning"] = self._complaint(beside, _NOT_THE_SECOND)
        else:
            there = self._probe(beside.mapped, arrival=True, echo=True)
            back = self._probe(first.mapped, second=True, arrival=False, echo=True)
            there.spares.append(back)
            back.spares.append(there)
            return [there, back]
        return []

    def _test_lifetime(self, mapped: Address, beside: _Probe) -> _Script:
        """Section 4.6, doubling the silence until the mapping is gone, then halving the gap."""
        if not self._longest:
            self._why["lifetime"] = "It was not looked for."
            return
        if self._facts.get("translated") is False:
            self._why["lifetime"] = "Nothing is translated."
            return
        if beside.mapped is None or beside.mapped[0] != mapped[0]:
            self._why["lifetime"] = "The two local ports are not seen at one address."
            return
        alive, gone, wait = 0.0, None, 0.0
        while True:
            renewed = self._probe(self.server)
            yield [renewed]
            if renewed.mapped is None:
                self._why["lifetime"] = self._complaint(renewed, "does not answer any more.")
                return
            yield wait
            port = renewed.mapped[1].to_bytes(2, "big")
            test = self._probe(self.server, (RESPONSE_PORT, port), second=True, arrival=False)
            yield [test]
            if test.failure or (not test.succeeded and not wait):
                self._why["lifetime"] = self._complaint(
                    test, "does not send answers to another port."
                )
                return
            if test.succeeded:
                alive = wait
            else:
                gone = wait
            if gone is None and alive < self._longest:
                wait = min(max(2 * alive, SHORTEST_LIFETIME), self._longest)
            elif gone is not None and gone - alive > max(SHORTEST_STEP, PRECISION * gone):
                wait = (alive + gone) / 2
            else:
                break
        self._facts["lifetime"] = Lifetime(alive, gone)

    def _complaint(self, probe: _Probe, otherwise: str) -> str:
        """A sentence about the server: what was wrong with the answer to *probe*, if anything."""
        return f"The STUN server {_text(self.server)} {probe.failure or otherwise}"


def _change(flags: int) -> tuple[int, bytes]:
    return CHANGE_REQUEST, encode_u32(flags)


def _is_second(other: Address, server: Address) -> bool:
    """Whether *other* can be the second address of *server*."""
    host = ipaddress.ip_address(other[0])
    return (
        host.version == ipaddress.ip_address(server[0]).version
        and not (host.is_multicast or host.is_unspecified)
        and other[0] != server[0]
        and other[1] not in (0, server[1])
    )


def _text(address: Address) -> str:
    return f"{address[0]} port {address[1]}"
