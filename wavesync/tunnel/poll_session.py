"""The server's end of one tunnel of short polls."""

from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.python.failure import Failure

from wavesync.alarm import Alarm
from wavesync.interfaces import Address
from wavesync.tunnel.answers import Refused
from wavesync.tunnel.poll_end import LEAST_DELAY, PollEnd
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


class PollSession(PollEnd):
    """One tunnel (:class:`~.transport.Carrier`).

    :param server: has all of them.
    :param tunnel: its id.
    :param source: from where its first request came.
    :param host: our own address.
    """

    def __init__(self, server: "PollServer", tunnel: str, source: Address, host: IAddress) -> None:
        core: ServerCore[PollRole] = ServerCore(server.limits)
        super().__init__(server.clock, core.outgoing, core.incoming, server.limits.held)
        self.tunnel = tunnel
        self.source = source
        self._server = server
        self._core = core
        self._transport: TunnelTransport = TunnelTransport(self, self._clock, host, address(source))
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

    def abort(self) -> None:
        """End at once."""
        if not self._over:
            self._end(ConnectionAborted(), LOST, later=True)

    # Inside.

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
            self._alarm.set(at if at is None else max(at, now + LEAST_DELAY))

    def _send(self, answers: list[Answering[PollRole]]) -> None:
        for role, answer, body in answers:
            role.answer(answer, body)

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
