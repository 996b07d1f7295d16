"""One server's leg as a state machine: from the first ``listen`` to the end (docs/mediator).

The machine decides what happens when; checking proofs, answering and the registry are its
:class:`Hands`.  A client's leg never gets beyond the state ``new``.
"""

from typing import Protocol

from automat import TypeMachineBuilder

from wavesync.machines import with_table
from wavesync.mediator.registry import Registration
from wavesync.signalling.refusals import Refusal
from wavesync.signalling.server_leg import Bind
from wavesync.stun.message import Message

__all__ = ["Hands", "ServerLeg", "build_server_leg"]


class Hands(Protocol):
    """What the machine has done for it; none of these may raise."""

    def refuse(self, request: Message, refusal: Refusal) -> None:
        """Answer *request* with an error."""

    def out_of_turn(self, request: Message) -> None:
        """Answer a *request* that has no place here with 400."""

    def register(self, request: Message, registration: Registration, public_key: bytes) -> None:
        """Enter the server into the registry, and answer with its registration."""

    def publish(self, request: Message, bind: Bind) -> None:
        """Keep the server's signed addresses, and answer."""

    def unregister(self) -> None:
        """Take the server out of the registry."""

    def say_superseded(self) -> None:
        """Tell the server that a newer registration of it took over."""

    def say_revoked(self) -> None:
        """Tell the server that its certificate was revoked."""

    def say_leaving(self) -> None:
        """Tell the server that the mediator is shutting down."""

    def hang_up(self) -> None:
        """Close the leg once everything written has left."""


class ServerLeg(Protocol):
    """What can happen on a leg."""

    def challenge(self, request: Message, refusal: Refusal) -> None:
        """``listen`` came without a proof (401), or with an aged nonce (438)."""

    def listen_proved(
        self, request: Message, registration: Registration, public_key: bytes
    ) -> None:
        """``listen`` came with a proof that holds, and there is room."""

    def listen_refused(self, request: Message, refusal: Refusal) -> None:
        """``listen`` came with a proof that does not hold, or there is no room."""

    def bind_proved(self, request: Message, bind: Bind) -> None:
        """``bind`` came with a proof of this leg's server."""

    def bind_refused(self, request: Message, refusal: Refusal) -> None:
        """``bind`` came without one."""

    def superseded(self) -> None:
        """A newer leg registered the same server."""

    def revoked(self) -> None:
        """The server's certificate was revoked."""

    def silent(self) -> None:
        """Nothing came for too long, or too much."""

    def lost(self) -> None:
        """The connection is gone."""

    def leaving(self) -> None:
        """The mediator is shutting down."""


# Any object with these methods will do as hands; Automat only asks for a class to name the type.
builder = TypeMachineBuilder(ServerLeg, Hands)  # type: ignore[type-abstract]

new = builder.state("new")
challenged = builder.state("challenged")
registered = builder.state("registered")
ended = builder.state("ended")

_UNREGISTERED = (new, challenged)

for _state in _UNREGISTERED:

    @_state.upon(ServerLeg.challenge).to(challenged)
    def _challenge(inputs: ServerLeg, hands: Hands, request: Message, refusal: Refusal) -> None:
        hands.refuse(request, refusal)

    @_state.upon(ServerLeg.listen_proved).to(registered)
    def _register(
        inputs: ServerLeg,
        hands: Hands,
        request: Message,
        registration: Registration,
        public_key: bytes,
    ) -> None:
        hands.register(request, registration, public_key)

    @_state.upon(ServerLeg.listen_refused).to(ended)
    def _refuse(inputs: ServerLeg, hands: Hands, request: Message, refusal: Refusal) -> None:
        hands.refuse(request, refusal)
        hands.hang_up()

    @_state.upon(ServerLeg.bind_proved).loop()
    def _bind_early(inputs: ServerLeg, hands: Hands, request: Message, bind: Bind) -> None:
        hands.out_of_turn(request)

    @_state.upon(ServerLeg.bind_refused).loop()
    def _bind_early_too(
        inputs: ServerLeg, hands: Hands, request: Message, refusal: Refusal
    ) -> None:
        hands.out_of_turn(request)

    @_state.upon(ServerLeg.silent).to(ended)
    def _silent_early(inputs: ServerLeg, hands: Hands) -> None:
        hands.hang_up()

    @_state.upon(ServerLeg.leaving).to(ended)
    def _leaving_early(inputs: ServerLeg, hands: Hands) -> None:
        hands.hang_up()

    _state.upon(ServerLeg.lost).to(ended).returns(None)
    _state.upon(ServerLeg.superseded).loop().returns(None)
    _state.upon(ServerLeg.revoked).loop().returns(None)


@registered.upon(ServerLeg.bind_proved).loop()
def _publish(inputs: ServerLeg, hands: Hands, request: Message, bind: Bind) -> None:
    hands.publish(request, bind)


@registered.upon(ServerLeg.bind_refused).loop()
def _refuse_bind(inputs: ServerLeg, hands: Hands, request: Message, refusal: Refusal) -> None:
    hands.refuse(request, refusal)


@registered.upon(ServerLeg.challenge).loop()
def _listens_again(inputs: ServerLeg, hands: Hands, request: Message, refusal: Refusal) -> None:
    hands.out_of_turn(request)


@registered.upon(ServerLeg.listen_proved).loop()
def _proves_again(
    inputs: ServerLeg,
    hands: Hands,
    request: Message,
    registration: Registration,
    public_key: bytes,
) -> None:
    hands.out_of_turn(request)


@registered.upon(ServerLeg.listen_refused).loop()
def _fails_again(inputs: ServerLeg, hands: Hands, request: Message, refusal: Refusal) -> None:
    hands.out_of_turn(request)


@registered.upon(ServerLeg.superseded).to(ended)
def _superseded(inputs: ServerLeg, hands: Hands) -> None:
    hands.say_superseded()
    hands.hang_up()


@registered.upon(ServerLeg.revoked).to(ended)
def _revoked(inputs: ServerLeg, hands: Hands) -> None:
    hands.unregister()
    hands.say_revoked()
    hands.hang_up()


@registered.upon(ServerLeg.silent).to(ended)
def _silent(inputs: ServerLeg, hands: Hands) -> None:
    hands.unregister()
    hands.hang_up()


@registered.upon(ServerLeg.lost).to(ended)
def _lost(inputs: ServerLeg, hands: Hands) -> None:
    hands.unregister()


@registered.upon(ServerLeg.leaving).to(ended)
def _leaving(inputs: ServerLeg, hands: Hands) -> None:
    hands.unregister()
    hands.say_leaving()
    hands.hang_up()


# What was under way when the leg ended changes nothing.
for _input in (
    "challenge",
    "listen_proved",
    "listen_refused",
    "bind_proved",
    "bind_refused",
    "superseded",
    "revoked",
    "silent",
    "lost",
    "leaving",
):
    ended.upon(getattr(ServerLeg, _input)).loop().returns(None)

build_server_leg = with_table(builder.build())
"""``build_server_leg(hands)`` gives a :class:`ServerLeg` in the state ``new``."""
