"""The state machine of a rendezvous between two wavesync ends; :mod:`.punching` feeds it.

Both ends hear each other along several paths; the end with the greater socket id chooses one, the
other follows: ``docs/udt.rst``, "Rendezvous between wavesync ends".
"""

from dataclasses import dataclass, field
from typing import Protocol

from automat import TypeMachineBuilder
from twisted.internet import error

from wavesync.interfaces import Address
from wavesync.machines import with_table
from wavesync.udt.handshake import FINAL, Agreement
from wavesync.udt.paths import Path

__all__ = ["Inputs", "PunchCore", "punching"]


class Inputs(Protocol):
    """What can happen to an attempt."""

    def heard(self, path: Path, agreement: Agreement) -> None:
        """A handshake with the token came along *path*."""

    def completed(self, path: Path) -> None:
        """The peer has heard us along *path*, and the choice is his."""

    def chosen(self, path: Path) -> None:
        """The peer has heard us along *path*, and the choice is ours."""

    def nominated(self, path: Path) -> None:
        """The peer, whose choice it is, chose *path*."""

    def confirmed(self) -> None:
        """The peer follows our choice."""

    def doubt(self) -> None:
        """Our choice was not confirmed for :data:`DOUBT` seconds."""

    def expire(self) -> None:
        """The time is up."""


@dataclass
class PunchCore:
    """What the machine works on.

    :ivar chooser: the choice of a path is ours.
    :ivar remote: the path that data takes.
    :ivar outgoing: handshakes to send at once, as (request type, path).
    :ivar settled: both ends use one path; nothing is left to do.
    """

    paths: dict[Address, Path] = field(default_factory=dict)
    now: float = 0.0
    chooser: bool = False
    agreement: Agreement | None = None
    remote: Path | None = None
    outgoing: list[tuple[int, Path]] = field(default_factory=list)
    events: list[tuple[str, Address]] = field(default_factory=list)
    settled: bool = False
    failure: Exception | None = None

    def hear(self, path: Path) -> None:
        """Answer at once whoever may not have heard us along this path.

        An adopted address gets one answer for each of its handshakes, and no more, until it has
        shown that it hears us: they may be copies that somebody else has sent.
        """
        again = path.heard
        if not again:
            path.heard = True
            self.events.append(("heard", path.address))
        if again or (path.adopted and not path.completed):
            self.outgoing.append((path.request, path))
        else:
            path.restart(self.now)

    def complete(self, path: Path) -> None:
        """The path works both ways."""
        if not path.completed:
            path.completed = True
            self.events.append(("completed", path.address))

    def take(self, path: Path) -> None:
        """Send data along this path from now on."""
        if path is not self.remote:
            self.remote = path
            self.events.append(("chosen", path.address))

    def stop(self) -> None:
        """Call nobody any more."""
        self.settled = True
        for path in self.paths.values():
            path.stopped = True


_machine = TypeMachineBuilder(Inputs, PunchCore)
_calling = _machine.state("calling")
_talking = _machine.state("talking")
_choosing = _machine.state("choosing")
_settled = _machine.state("settled")
_failed = _machine.state("failed")


@_calling.upon(Inputs.heard).to(_talking)
def meet(inputs: Inputs, core: PunchCore, path: Path, agreement: Agreement) -> None:
    """The peer is known: data may flow, first along the path it was heard on."""
    core.agreement = agreement
    core.remote = path
    core.hear(path)


@_talking.upon(Inputs.heard).loop()
def answer(inputs: Inputs, core: PunchCore, path: Path, agreement: Agreement) -> None:
    """Heard again or along another path: answer there."""
    core.hear(path)


@_choosing.upon(Inputs.heard).loop()
def answer_or_insist(inputs: Inputs, core: PunchCore, path: Path, agreement: Agreement) -> None:
    """Repeat the choice where it applies; answer elsewhere, it may be needed yet."""
    if path is core.remote:
        core.outgoing.append((FINAL, path))
    else:
        core.hear(path)


@_settled.upon(Inputs.heard).loop()
def insist(inputs: Inputs, core: PunchCore, path: Path, agreement: Agreement) -> None:
    """The peer has missed our choice."""
    if core.chooser and path is core.remote:
        core.outgoing.append((FINAL, path))


@_talking.upon(Inputs.completed).loop()
def prefer(inputs: Inputs, core: PunchCore, path: Path) -> None:
    """Until the peer has chosen, use the first path that is known to work both ways."""
    core.complete(path)
    if core.remote is not None and not core.remote.completed:
        core.remote = path


@_talking.upon(Inputs.chosen).to(_choosing)
def choose(inputs: Inputs, core: PunchCore, path: Path) -> None:
    """Choose the first path that works both ways, and say so at once."""
    core.complete(path)
    core.remote = path
    core.events.append(("chosen", path.address))
    path.restart(core.now)


@_choosing.upon(Inputs.chosen).loop()
def keep_in_reserve(inputs: Inputs, core: PunchCore, path: Path) -> None:
    """Another path works, too: it may be needed if the choice is not confirmed."""
    core.complete(path)


@_choosing.upon(Inputs.doubt).loop()
def choose_another(inputs: Inputs, core: PunchCore) -> None:
    """The chosen path does not carry our packets: take the next one that is complete."""
    usable = [path for path in core.paths.values() if path.completed]
    if core.remote in usable:
        core.take(usable[(usable.index(core.remote) + 1) % len(usable)])
        core.remote.restart(core.now)


@_choosing.upon(Inputs.confirmed).to(_settled)
def settle(inputs: Inputs, core: PunchCore) -> None:
    """Both ends use the chosen path."""
    core.stop()


@_talking.upon(Inputs.nominated).to(_settled)
def follow(inputs: Inputs, core: PunchCore, path: Path) -> None:
    """Use the path that the peer chose, and confirm it."""
    core.complete(path)
    core.remote = path
    core.events.append(("chosen", path.address))
    core.outgoing.append((FINAL, path))
    core.stop()


@_settled.upon(Inputs.nominated).loop()
def follow_again(inputs: Inputs, core: PunchCore, path: Path) -> None:
    """The confirmation was lost, or the peer changed its mind."""
    core.take(path)
    core.outgoing.append((FINAL, path))


@_calling.upon(Inputs.expire).to(_failed)
@_choosing.upon(Inputs.expire).to(_failed)
def give_up(inputs: Inputs, core: PunchCore) -> None:
    """Fail: no path works both ways."""
    heard = "was heard but did not hear us" if core.agreement else "was not heard"
    core.failure = error.TimeoutError(string=f"The other end of the rendezvous {heard}.")
    core.stop()


@_talking.upon(Inputs.expire).to(_settled)
def make_do(inputs: Inputs, core: PunchCore) -> None:
    """Time is up without a choice: stay on a complete path, or fail."""
    core.stop()
    if core.remote is None or not core.remote.completed:
        core.failure = error.TimeoutError(
            string="The other end of the rendezvous was heard but did not hear us."
        )


for _idle in (
    _calling.upon(Inputs.completed),
    _calling.upon(Inputs.chosen),
    _calling.upon(Inputs.nominated),
    _calling.upon(Inputs.confirmed),
    _calling.upon(Inputs.doubt),
    _talking.upon(Inputs.confirmed),
    _talking.upon(Inputs.doubt),
    _choosing.upon(Inputs.completed),
    _choosing.upon(Inputs.nominated),
    _settled.upon(Inputs.completed),
    _settled.upon(Inputs.chosen),
    _settled.upon(Inputs.confirmed),
    _settled.upon(Inputs.doubt),
    _settled.upon(Inputs.expire),
    _failed.upon(Inputs.heard),
    _failed.upon(Inputs.completed),
    _failed.upon(Inputs.chosen),
    _failed.upon(Inputs.nominated),
    _failed.upon(Inputs.confirmed),
    _failed.upon(Inputs.doubt),
    _failed.upon(Inputs.expire),
):
    _idle.loop().returns(None)

punching = with_table(_machine.build())
"""The machine; drawn in ``docs/diagrams``."""
