"""One introduction of a client to a server as a state machine (docs/mediator).

The machine decides what still matters: sending and counting are its :class:`Hands`.
"""

from typing import Protocol

from automat import TypeMachineBuilder

from wavesync.machines import with_table
from wavesync.signalling.introducing import ConnectionResult

__all__ = ["Hands", "Progress", "build_progress"]


class Hands(Protocol):
    """What the machine has done for it; none of these may raise."""

    def request(self) -> None:
        """Send ``connectionRequested`` to the server."""

    def note_acknowledged(self) -> None:
        """Count that the server has begun to punch."""

    def tell_client(self) -> None:
        """Send the client a new ``connectionUpdate``: the server is seen elsewhere."""

    def tell_server(self) -> None:
        """Send the server a new ``connectionUpdate``: the client is seen elsewhere."""

    def repeat(self) -> None:
        """Send again what is due and was not returned."""

    def stop_telling(self) -> None:
        """Send no more updates."""

    def note_result(self, result: ConnectionResult) -> None:
        """Count and log the client's report."""

    def note_unreported(self) -> None:
        """Count that the client never reported."""

    def forget(self) -> None:
        """Leave the table."""


class Progress(Protocol):
    """What can happen to an introduction."""

    def begin(self) -> None:
        """The client's request was admitted and a server chosen."""

    def acknowledged(self) -> None:
        """``connectionAck`` came from the server."""

    def server_moved(self) -> None:
        """The server was seen at an address that the client does not know."""

    def client_moved(self) -> None:
        """The client was seen at an address that the server does not know."""

    def repeat_due(self) -> None:
        """It is time to repeat an update."""

    def result(self, result: ConnectionResult) -> None:
        """``connectionResult`` came from the client."""

    def expired(self) -> None:
        """Its time is over."""


# Any object with these methods will do as hands; Automat only asks for a class to name the type.
builder = TypeMachineBuilder(Progress, Hands)  # type: ignore[type-abstract]

admitted = builder.state("admitted")
requested = builder.state("requested")
punching = builder.state("punching")
finished = builder.state("finished")
forgotten = builder.state("forgotten")


@admitted.upon(Progress.begin).to(requested)
def _begin(inputs: Progress, hands: Hands) -> None:
    hands.request()


@requested.upon(Progress.acknowledged).to(punching)
def _acknowledged(inputs: Progress, hands: Hands) -> None:
    hands.note_acknowledged()


for _state in (requested, punching):

    @_state.upon(Progress.server_moved).loop()
    def _server_moved(inputs: Progress, hands: Hands) -> None:
        hands.tell_client()

    @_state.upon(Progress.client_moved).loop()
    def _client_moved(inputs: Progress, hands: Hands) -> None:
        hands.tell_server()

    @_state.upon(Progress.repeat_due).loop()
    def _repeat(inputs: Progress, hands: Hands) -> None:
        hands.repeat()

    @_state.upon(Progress.result).to(finished)
    def _result(inputs: Progress, hands: Hands, result: ConnectionResult) -> None:
        hands.stop_telling()
        hands.note_result(result)

    @_state.upon(Progress.expired).to(forgotten)
    def _unreported(inputs: Progress, hands: Hands) -> None:
        hands.note_unreported()
        hands.forget()


@admitted.upon(Progress.expired).to(forgotten)
def _expired_early(inputs: Progress, hands: Hands) -> None:
    hands.forget()


@finished.upon(Progress.expired).to(forgotten)
def _expired(inputs: Progress, hands: Hands) -> None:
    hands.forget()


# What comes twice or late changes nothing; the answer is kept until the introduction is forgotten.
for _state, _ignored in (
    (admitted, "acknowledged server_moved client_moved repeat_due result"),
    (requested, "begin"),
    (punching, "begin acknowledged"),
    (finished, "begin acknowledged server_moved client_moved repeat_due result"),
    (
        forgotten,
        "begin acknowledged server_moved client_moved repeat_due result expired",
    ),
):
    for _name in _ignored.split():
        _state.upon(getattr(Progress, _name)).loop().returns(None)

build_progress = with_table(builder.build())
"""``build_progress(hands)`` gives a :class:`Progress` in the state ``admitted``."""
