"""``listen`` on one connection to a mediator: be challenged, prove who this server is, be registered."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.python.failure import Failure

from wavesync.identity.ids import Target
from wavesync.signalling.asking import NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import (
    Listen,
    Prover,
    Refusal,
    Registered,
    SignallingError,
    registration_key,
)
from wavesync.signalling.numbers import ErrorCode
from wavesync.signalling.relay_urls import Relay
from wavesync.stun.message import MessageClass
from wavesync.stun.transactions import Answer

__all__ = ["Enrolment", "EnrolmentOwner", "Granted"]


@dataclass(frozen=True, slots=True)
class Granted:
    """A registration.

    :ivar id: names it in UDP messages.
    :ivar key: the key of those.
    :ivar keep_alive: seconds between keep-alives, each way.
    :ivar time: the mediator's clock, seconds since the epoch.
    :ivar crl_number: of the revocation list that the mediator holds; 0 for none.
    :ivar relays: those that the mediator knows.
    """

    id: int
    key: bytes
    keep_alive: float
    time: float
    crl_number: int = 0
    relays: tuple[Relay, ...] = ()


class EnrolmentOwner(Protocol):
    """Who is told how it goes: at most one of these for each ``listen``."""

    def enrolment_challenged(self) -> None:
        """The mediator wants a proof over a nonce: call :meth:`Enrolment.prove`."""

    def enrolment_granted(self, granted: Granted) -> None:
        """This server is registered."""

    def enrolment_refused(self, refusal: Refusal) -> None:
        """The mediator does not register this server."""

    def enrolment_failed(self, why: str) -> None:
        """No answer came, or none that makes sense."""


class Enrolment:
    """Asks over one leg to be registered.

    :param server: this server's whole name.
    :param leg: the connection.
    :param prover: signs, over a nonce.
    :param owner: is told.
    :param standby: register only if no other agent has registered this server.
    :param crl_number: of the revocation list that this agent holds; 0 for none.
    """

    def __init__(
        self,
        server: Target,
        leg: Leg,
        prover: Callable[[bytes], Prover],
        owner: EnrolmentOwner,
        *,
        standby: bool = False,
        crl_number: int = 0,
    ) -> None:
        self._server = server
        self._leg = leg
        self._prover = prover
        self._owner = owner
        self._standby = standby
        self._crl_number = crl_number
        self._exchange = X25519PrivateKey.generate()
        self._nonce = b""
        self._over = False

    def greet(self) -> None:
        """Ask to be challenged."""
        self._listen(None)

    def prove(self) -> None:
        """Answer the challenge."""
        self._listen(self._prover(self._nonce))

    def end(self) -> None:
        """The leg is given up: the owner hears nothing more."""
        self._over = True

    def _listen(self, prover: Prover | None) -> None:
        public = self._exchange.public_key().public_bytes_raw()
        listen = Listen(self._server, public, standby=self._standby, crl_number=self._crl_number)
        request = listen.encode(os.urandom(12), prover)
        self._leg.ask(request).addCallbacks(self._answered, self._unanswered)

    def _unanswered(self, failure: Failure) -> None:
        failure.trap(NoAnswer)
        if not self._over:
            self._owner.enrolment_failed("it does not answer")

    def _answered(self, answer: Answer) -> None:
        if self._over:
            return
        try:
            if answer.message.message_class is MessageClass.ERROR:
                self._refused(Refusal.decode(answer.message))
                return
            # Whether a relay may be at this very host is for whoever dials it to judge.
            registered = Registered.decode(answer.message, allow_loopback=True)
            key = registration_key(
                self._exchange, registered.exchange_key, registered.registration_id
            )
        except SignallingError as error:
            self._owner.enrolment_failed(f"it answers nonsense ({error})")
            return
        granted = Granted(
            registered.registration_id,
            key,
            registered.keep_alive,
            registered.time,
            registered.crl_number,
            registered.relays,
        )
        self._owner.enrolment_granted(granted)

    def _refused(self, refusal: Refusal) -> None:
        asked = refusal.code in (ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE)
        if asked and refusal.nonce:
            self._nonce = refusal.nonce
            self._owner.enrolment_challenged()
        else:
            self._owner.enrolment_refused(refusal)
