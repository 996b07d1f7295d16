"""The life of a session from OPEN to its end, as a state machine for both roles.

A client goes idle - opening - carrying - over; a server waiting - deciding - carrying - over.
The bytes in between do not pass through here, only what is out of place among them.
"""

from typing import Protocol

from automat import TypeMachineBuilder

from wavesync.machines import with_table
from wavesync.session.errors import Refusal
from wavesync.session.events import (
    Event,
    Finished,
    Lost,
    OpenAccepted,
    OpenRefused,
    OpenRequested,
)
from wavesync.session.frames import (
    MAY_IGNORE,
    Frame,
    Open,
    Opened,
    Options,
    Refused,
    Reset,
)

__all__ = ["Inputs", "Owner", "lifecycle"]


class Owner(Protocol):
    """What the machine acts on: the session core."""

    def send(self, frame: Frame) -> None:
        """Queue a frame."""

    def tell(self, event: Event) -> None:
        """Queue an event."""

    def began(self, service: str) -> None:
        """OPEN was sent or came: PINGs, ACKs and a server's incoming DATA are in order now."""

    def carries(self) -> None:
        """OPENED was sent or came: DATA may go both ways."""

    def ended(self) -> None:
        """Nothing is sent or taken any more."""


class Inputs(Protocol):
    """What happens to a session."""

    def serve(self) -> None:
        """Make this end the server (before anything else)."""

    def open(self, service: str, options: Options) -> None:
        """Client: ask for a service."""

    def accept(self) -> None:
        """Server: the service is there."""

    def refuse(self, code: int, sentence: str) -> None:
        """Server: the service is not opened."""

    def finish(self) -> None:
        """Both directions ended and were acknowledged."""

    def abandon(self) -> None:
        """Our direction is acknowledged, and nobody here reads the peer's any more."""

    def reset(self, code: int, sentence: str) -> None:
        """The application gives up."""

    def fail(self, code: int, sentence: str) -> None:
        """The peer is to be told why this session cannot go on."""

    def lose(self, sentence: str) -> None:
        """The path is gone."""

    def open_received(self, service: str, options: Options) -> None:
        """An OPEN came."""

    def opened_received(self, options: Options) -> None:
        """An OPENED came."""

    def refused_received(self, code: int, sentence: str) -> None:
        """A REFUSED came."""

    def reset_received(self, code: int, sentence: str) -> None:
        """A RESET came."""

    def stray_received(self, what: str) -> None:
        """A frame came that has no place in the stream now."""


def _needed(options: Options) -> bool:
    """Whether an option must be understood: none of those that are defined has to be."""
    return any(not kind & MAY_IGNORE for kind, _ in options)


def _build() -> TypeMachineBuilder[Inputs, Owner]:
    builder = TypeMachineBuilder(Inputs, Owner)  # type: ignore[type-abstract]
    idle = builder.state("idle")
    opening = builder.state("opening")
    waiting = builder.state("waiting")
    deciding = builder.state("deciding")
    carrying = builder.state("carrying")
    over = builder.state("over")
    live = (idle, opening, waiting, deciding, carrying)
    begun = (opening, deciding, carrying)

    @idle.upon(Inputs.serve).to(waiting)
    def serve(machine: Inputs, owner: Owner) -> None:
        pass

    for state in (opening, waiting, deciding, carrying, over):
        state.upon(Inputs.serve).loop().returns(None)

    @idle.upon(Inputs.open).to(opening)
    def open_(machine: Inputs, owner: Owner, service: str, options: Options) -> None:
        owner.send(Open(service, options))
        owner.began(service)

    for state in (opening, waiting, deciding, carrying, over):
        state.upon(Inputs.open).loop().returns(None)

    @deciding.upon(Inputs.accept).to(carrying)
    def accept(machine: Inputs, owner: Owner) -> None:
        owner.send(Opened())
        owner.carries()

    for state in (idle, opening, waiting, carrying, over):
        state.upon(Inputs.accept).loop().returns(None)

    @deciding.upon(Inputs.refuse).to(over)
    def refuse(machine: Inputs, owner: Owner, code: int, sentence: str) -> None:
        owner.send(Refused(code, sentence))
        owner.ended()

    for state in (idle, opening, waiting, carrying, over):
        state.upon(Inputs.refuse).loop().returns(None)

    @carrying.upon(Inputs.finish).to(over)
    def finish(machine: Inputs, owner: Owner) -> None:
        owner.tell(Finished())
        owner.ended()

    for state in (idle, opening, waiting, deciding, over):
        state.upon(Inputs.finish).loop().returns(None)

    @carrying.upon(Inputs.abandon).to(over)
    def abandon(machine: Inputs, owner: Owner) -> None:
        owner.send(Reset(Refusal.CLOSED, "the application does not read any further"))
        owner.tell(Finished())
        owner.ended()

    for state in (idle, opening, waiting, deciding, over):
        state.upon(Inputs.abandon).loop().returns(None)

    def reset(machine: Inputs, owner: Owner, code: int, sentence: str) -> None:
        owner.send(Reset(code, sentence))
        owner.ended()

    for state in begun:
        state.upon(Inputs.reset).to(over)(reset)

    def leave(machine: Inputs, owner: Owner, code: int, sentence: str) -> None:
        owner.ended()

    for state in (idle, waiting):
        state.upon(Inputs.reset).to(over)(leave)
    over.upon(Inputs.reset).loop().returns(None)

    def fail(machine: Inputs, owner: Owner, code: int, sentence: str) -> None:
        owner.send(Reset(code, sentence))
        owner.tell(Lost(sentence, code))
        owner.ended()

    for state in (opening, waiting, deciding, carrying):
        state.upon(Inputs.fail).to(over)(fail)

    @idle.upon(Inputs.fail).to(over)
    def fail_idle(machine: Inputs, owner: Owner, code: int, sentence: str) -> None:
        owner.tell(Lost(sentence, code))
        owner.ended()

    over.upon(Inputs.fail).loop().returns(None)

    def lose(machine: Inputs, owner: Owner, sentence: str) -> None:
        owner.tell(Lost(sentence))
        owner.ended()

    for state in live:
        state.upon(Inputs.lose).to(over)(lose)
    over.upon(Inputs.lose).loop().returns(None)

    @waiting.upon(Inputs.open_received).to(deciding)
    def open_received(machine: Inputs, owner: Owner, service: str, options: Options) -> None:
        owner.began(service)
        if _needed(options):
            machine.refuse(Refusal.BAD_FRAME, "OPEN has an option that this server does not know")
        else:
            owner.tell(OpenRequested(service, options))

    def open_again(machine: Inputs, owner: Owner, service: str, options: Options) -> None:
        _violated(owner, "OPEN came where it has no place")

    for state in (idle, opening, deciding, carrying):
        state.upon(Inputs.open_received).to(over)(open_again)
    over.upon(Inputs.open_received).loop().returns(None)

    @opening.upon(Inputs.opened_received).to(carrying)
    def opened_received(machine: Inputs, owner: Owner, options: Options) -> None:
        owner.carries()
        if _needed(options):
            machine.fail(Refusal.BAD_FRAME, "OPENED has an option that this client does not know")
        else:
            owner.tell(OpenAccepted())

    def opened_again(machine: Inputs, owner: Owner, options: Options) -> None:
        _violated(owner, "OPENED came where it has no place")

    for state in (idle, waiting, deciding, carrying):
        state.upon(Inputs.opened_received).to(over)(opened_again)
    over.upon(Inputs.opened_received).loop().returns(None)

    @opening.upon(Inputs.refused_received).to(over)
    def refused_received(machine: Inputs, owner: Owner, code: int, sentence: str) -> None:
        owner.tell(OpenRefused(code, sentence))
        owner.ended()

    def refused_again(machine: Inputs, owner: Owner, code: int, sentence: str) -> None:
        _violated(owner, "REFUSED came where it has no place")

    for state in (idle, waiting, deciding, carrying):
        state.upon(Inputs.refused_received).to(over)(refused_again)
    over.upon(Inputs.refused_received).loop().returns(None)

    def reset_received(machine: Inputs, owner: Owner, code: int, sentence: str) -> None:
        owner.tell(Lost(f"the other side ended the session: {sentence}", code))
        owner.ended()

    for state in live:
        state.upon(Inputs.reset_received).to(over)(reset_received)
    over.upon(Inputs.reset_received).loop().returns(None)

    def stray(machine: Inputs, owner: Owner, what: str) -> None:
        _violated(owner, what)

    for state in live:
        state.upon(Inputs.stray_received).to(over)(stray)
    over.upon(Inputs.stray_received).loop().returns(None)
    return builder


def _violated(owner: Owner, what: str) -> None:
    owner.send(Reset(Refusal.BAD_FRAME, what))
    owner.tell(Lost(f"the other side broke the protocol: {what}", Refusal.BAD_FRAME))
    owner.ended()


lifecycle = with_table(_build().build())
"""Make a machine for an :class:`Owner`; its result has the :class:`Inputs`."""
