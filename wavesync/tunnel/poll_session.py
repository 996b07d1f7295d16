"""The server's end of one tunnel of short polls."""

from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol
from twisted.python.failure import Failure

from wavesync.alarm import Alarm
from wavesync.interfaces import Address
from wavesync.tunnel.answers import Refused
from wavesync.tunnel.poll_core import WINDOW
from wavesync.tunnel.poll_held import Answering, ServerCore
from wavesync.tunnel.poll_link import ENDED
from wavesync.tunnel.poll_role import PollRole
from wavesync.tunnel.poll_wire import PollError, PollRequest
from wavesync.tunnel.server_end import address
from wavesync.tunnel.transport import TunnelTransport

if TYPE_CHECKING:
    from wavesync.tunnel.poll_server import PollServer

__all__ = ["LOST", "PollSession"]

LOST = "lost"
"""The reason with which requests are refused for a tunnel that was broken off."""

_LEAST_DELAY = 0.001


class PollSession:
    """One tunnel (:class:`~.transport.Carrier`).

    :param server: has all of them.
    :param tunnel: its id.
    :param source: from where its first request came.
    :param host: our own address.
    """

    def __init__(self, server: "PollServer", tunnel: str, source: Address, host: IAddress) -> None:
        self.tunnel = tunnel
        self.source = source
        self._server = server
        self._clock = server.clock
        self._core: ServerCore[PollRole] = ServerCore()
        self._transport = TunnelTransport(self, self._clock, host, address(source))
        self._paused = self._full = self._over = self._turning = False
        self._soon: IDelayedCall | None = None
        self._alarm = Alarm(self._clock, self._turn)

    def begin(self, protocol: IProtocol, hello: bytes) -> None:
        """Send the hello back, and connect the protocol."""
        self._core.outgoing.write(hello)
        self._transport.attach(protocol)

    def request(
        self, role: PollRole, request: PollRequest, body: bytes, *, greeting: int = 0
    ) -> None:
        """Take a request.

        :param greeting: bytes of the body that are no business of the protocol.
        :raises Refused: it makes no sense; the tunnel is lost.
        """
        if self._over:  # the protocol wanted nothing of it
            raise over(LOST)
        try:
            self._core.request(role, request, body, self._clock.seconds())
        except PollError as error:
            self._end(ConnectionLost(f"the client sent what it must not: {error}"), LOST)
            raise Refused(400, "poll", f"{error}.") from None
        if greeting:
            rest = self._core.incoming.deliver()[greeting:]
            self._transport.received(rest)
        if request.over:
            self._deliver()
            if not self._over:
                self._send(self._core.dismiss())
                done = self._core.outgoing.arrived or self._core.incoming.ended
                lost = ConnectionDone() if done else ConnectionLost("the client broke it off")
                self._end(lost, ENDED)
        else:
            self._turn()

    def gone(self, role: PollRole) -> None:
        """A connection is closed."""
        self._core.gone(role)

    def idle(self) -> None:
        """Nothing has come for too long."""
        self._end(ConnectionLost("the client does not ask any more"), LOST)

    # Carrier.

    def write(self, data: bytes) -> None:
        """Send."""
        if not (self._over or self._core.outgoing.ended):
            self._core.outgoing.write(data)
            self._tell_room()
            self._touch()

    def close(self) -> None:
        """Send what was written, then end."""
        if not self._over:
            self._core.outgoing.end()
            self._touch()

    def abort(self) -> None:
        """End at once."""
        if not self._over:
            self._end(ConnectionAborted(), LOST, later=True)

    def pause(self) -> None:
        """Bring nothing more for now."""
        self._paused = True

    def resume(self) -> None:
        """Bring more."""
        self._paused = False
        self._touch()

    # Inside.

    def _touch(self) -> None:
        """Have a turn soon: not now, since whoever writes may write more."""
        if self._soon is None and not (self._turning or self._over):
            self._soon = self._clock.callLater(0, self._come)

    def _come(self) -> None:
        self._soon = None
        self._turn()

    def _turn(self) -> None:
        """Deliver, answer, and set the timer."""
        if self._over or self._turning:
            return
        self._turning = True
        try:
            self._deliver()
            self._tell_room()  # before the answers: what is written now is in them
        finally:
            self._turning = False
        if self._over:
            return
        if self._core.incoming.ended or self._core.outgoing.arrived:
            self._send(self._core.dismiss())
            self._end(ConnectionDone(), ENDED)
        else:
            self._send(self._core.answers(self._clock.seconds()))
            at = self._core.deadline()
            now = self._clock.seconds()
            self._alarm.set(at if at is None else max(at, now + _LEAST_DELAY))

    def _deliver(self) -> None:
        incoming = self._core.incoming
        while incoming.waiting and not self._over and (incoming.ended or not self._paused):
            self._transport.received(incoming.deliver())

    def _send(self, answers: list[Answering[PollRole]]) -> None:
        for role, answer, body in answers:
            role.answer(answer, body)

    def _tell_room(self) -> None:
        kept = len(self._core.outgoing)
        if not self._full and kept >= WINDOW:
            self._full = True
            self._transport.full()
        elif self._full and kept <= WINDOW // 2:
            self._full = False
            self._transport.free()

    def _end(self, error: BaseException, reason: str, *, later: bool = False) -> None:
        """It is over.

        :param reason: what further requests for it are told.
        :param later: whether the protocol is not to be told now.
        """
        if self._over:
            return
        self._over = True
        self._alarm.set(None)
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        for role in self._core.release():
            role.refuse(over(reason))
        self._server.over(self, reason)
        if later:
            self._clock.callLater(0, self._transport.lost, Failure(error))
        else:
            self._transport.lost(Failure(error))


def over(reason: str) -> Refused:
    """Return the refusal of a request for a tunnel that is over."""
    return Refused(404, reason, "there is no such tunnel any more.")
