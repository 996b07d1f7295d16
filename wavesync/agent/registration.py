"""The agent's side of one registration with one mediator, as a state machine (docs/mediator).

The machine decides; dialling, signing and timers are its :class:`Hands`.  One machine drives one
mediator for the whole life of the agent, through any number of connections.
"""

from typing import Protocol

from automat import TypeMachineBuilder

from wavesync.machines import with_table

__all__ = ["Hands", "Registration", "Wait", "build_registration"]

import enum


class Wait(enum.Enum):
    """Why the next attempt is not made at once."""

    UNREACHABLE = "unreachable"
    """The mediator could not be reached: seconds."""

    BUSY = "busy"
    """It was reached, and did not get round to registering this server: ever longer."""

    BROKEN = "broken"
    """The connection of a registered server broke or fell silent: at once, then ever longer."""

    DISMISSED = "dismissed"
    """The mediator has ended the registration, and most likely all others: some seconds, so that
    they do not come back in one moment."""

    REFUSED = "refused"
    """The mediator will not have this server: minutes, since only a person can change that."""

    SUPERSEDED = "superseded"
    """Another agent registered with the same credentials: minutes, so that two do not take turns."""


class Hands(Protocol):
    """What the machine has done for it; none of these may raise."""

    def dial(self) -> None:
        """Open a connection to the mediator; ends in ``connected`` or ``lost``."""

    def hang_up(self) -> None:
        """Close the connection, if any; no ``lost`` is owed for it."""

    def change_legs(self) -> None:
        """Go on over the other connection, which stands."""

    def greet(self) -> None:
        """Send ``listen`` without a proof, to be given a nonce."""

    def prove(self) -> None:
        """Send ``listen`` again, signed over the nonce that came."""

    def publish(self) -> None:
        """Registered: send the signed addresses, keep the leg and the UDP mapping alive."""

    def wait(self, why: Wait) -> None:
        """Start the timer that ends in ``due``."""

    def stop_waiting(self) -> None:
        """Cancel that timer."""


class Registration(Protocol):
    """What can happen to a registration."""

    def start(self) -> None:
        """The agent was started."""

    def stop(self) -> None:
        """The agent was stopped."""

    def connected(self) -> None:
        """The connection to the mediator stands."""

    def lost(self) -> None:
        """The connection could not be made, broke, or fell silent."""

    def replaced(self) -> None:
        """The connection does not answer, and another one stands."""

    def dismissed(self) -> None:
        """The mediator has said good-bye, or closed the connection."""

    def challenged(self) -> None:
        """The mediator asks for a proof over its nonce."""

    def accepted(self) -> None:
        """The mediator took the proof: this server is registered."""

    def refused(self) -> None:
        """The mediator refused for a reason that trying again at once does not change."""

    def superseded(self) -> None:
        """A newer registration of the same server has taken this one's place."""

    def due(self) -> None:
        """The waiting time is over."""


# Any object with these methods will do as hands; Automat only asks for a class to name the type.
builder = TypeMachineBuilder(Registration, Hands)  # type: ignore[type-abstract]

idle = builder.state("idle")
dialling = builder.state("dialling")
greeting = builder.state("greeting")
proving = builder.state("proving")
registered = builder.state("registered")
waiting = builder.state("waiting")

_ON_LINE = (greeting, proving, registered)


@idle.upon(Registration.start).to(dialling)
def _begin(inputs: Registration, hands: Hands) -> None:
    hands.dial()


@waiting.upon(Registration.due).to(dialling)
def _again(inputs: Registration, hands: Hands) -> None:
    hands.dial()


@dialling.upon(Registration.connected).to(greeting)
def _greet(inputs: Registration, hands: Hands) -> None:
    hands.greet()


@greeting.upon(Registration.challenged).to(proving)
def _prove(inputs: Registration, hands: Hands) -> None:
    hands.prove()


@proving.upon(Registration.accepted).to(registered)
def _publish(inputs: Registration, hands: Hands) -> None:
    hands.publish()


@proving.upon(Registration.challenged).to(waiting)
def _challenged_twice(inputs: Registration, hands: Hands) -> None:
    # The nonce aged under way, or the mediator is not sane: no loop at line speed.
    hands.hang_up()
    hands.wait(Wait.BUSY)


@dialling.upon(Registration.lost).to(waiting)
def _unreachable(inputs: Registration, hands: Hands) -> None:
    hands.wait(Wait.UNREACHABLE)


@registered.upon(Registration.lost).to(waiting)
def _broken(inputs: Registration, hands: Hands) -> None:
    hands.hang_up()
    hands.wait(Wait.BROKEN)


@registered.upon(Registration.replaced).to(greeting)
def _replaced(inputs: Registration, hands: Hands) -> None:
    hands.hang_up()
    hands.change_legs()
    hands.greet()


@registered.upon(Registration.dismissed).to(waiting)
def _dismissed(inputs: Registration, hands: Hands) -> None:
    hands.hang_up()
    hands.wait(Wait.DISMISSED)


for _state in (greeting, proving):
    for _over in (Registration.lost, Registration.dismissed):

        @_state.upon(_over).to(waiting)
        def _unregistered(inputs: Registration, hands: Hands) -> None:
            hands.hang_up()
            hands.wait(Wait.BUSY)


for _state in _ON_LINE:

    @_state.upon(Registration.refused).to(waiting)
    def _refused(inputs: Registration, hands: Hands) -> None:
        hands.hang_up()
        hands.wait(Wait.REFUSED)

    @_state.upon(Registration.superseded).to(waiting)
    def _superseded(inputs: Registration, hands: Hands) -> None:
        hands.hang_up()
        hands.wait(Wait.SUPERSEDED)

    @_state.upon(Registration.stop).to(idle)
    def _stop(inputs: Registration, hands: Hands) -> None:
        hands.hang_up()


@dialling.upon(Registration.stop).to(idle)
def _stop_dialling(inputs: Registration, hands: Hands) -> None:
    hands.hang_up()


@waiting.upon(Registration.stop).to(idle)
def _stop_waiting(inputs: Registration, hands: Hands) -> None:
    hands.stop_waiting()


# What a mediator, or a connection already given up, may still say out of turn: it changes nothing.
for _state, _ignored in (
    (
        idle,
        "stop connected lost replaced dismissed challenged accepted refused superseded due",
    ),
    (dialling, "start replaced dismissed challenged accepted refused superseded due"),
    (greeting, "start connected replaced accepted due"),
    (proving, "start connected replaced due"),
    (registered, "start connected challenged accepted due"),
    (waiting, "start connected lost replaced dismissed challenged accepted refused superseded"),
):
    for _name in _ignored.split():
        _state.upon(getattr(Registration, _name)).loop().returns(None)

build_registration = with_table(builder.build())
"""``build_registration(hands)`` gives a :class:`Registration` in the state ``idle``."""
