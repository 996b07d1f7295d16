"""The server's end of tunnels: requests in, protocols with transports out."""

from collections.abc import Iterator

import h11
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from wavesync.alarm import Alarm
from wavesync.deadlines import Deadlines
from wavesync.interfaces import Address
from wavesync.tunnel.answers import Refused, body_head, refusal, switching
from wavesync.tunnel.channel import Channel, Codec
from wavesync.tunnel.guests import Guests, MethodGuests, TunnelStatistics
from wavesync.tunnel.limits import TunnelLimits
from wavesync.tunnel.place import PATH
from wavesync.tunnel.poll_server import PollServer
from wavesync.tunnel.requests import (
    UPGRADE,
    check_body,
    check_upgrade,
    fields_of,
    id_of,
    method_of,
    path_of,
)
from wavesync.tunnel.server_end import ServerEnd
from wavesync.tunnel.server_roles import GetPostRole, Two
from wavesync.tunnel.websocket import WebSocketCodec, accept_websocket
from wavesync.tunnel.wire import Role, Wire

__all__ = ["TunnelServer"]


class TunnelServer:
    """All tunnels to one service.

    :param factory: makes the protocol of each tunnel, as it would that of a TCP connection; its
        ``buildProtocol`` gets the client's address.
    :param clock: gives the time and timers.
    :param limits: how many of everything.
    :ivar statistics: counts by method and by reason.
    """

    def __init__(
        self, factory: IProtocolFactory, clock: IReactorTime, *, limits: TunnelLimits | None = None
    ) -> None:
        self.limits = TunnelLimits() if limits is None else limits
        self.factory = factory
        self.clock = clock
        self._guests = Guests(self.limits)
        self._poll = PollServer(
            factory, clock, MethodGuests(self._guests, "poll"), self.limits.polls
        )
        self._tunnels: dict[str, ServerEnd] = {}
        self._twos: dict[str, Two] = {}
        self._half: Deadlines[ServerEnd] = Deadlines(self.limits.hello_time)
        self._swept = clock.seconds()
        self._alarm = Alarm(clock, self._due)

    @property
    def statistics(self) -> TunnelStatistics:
        """Counts by method and by reason."""
        return self._guests.statistics

    def __len__(self) -> int:
        """Count the tunnels, half-made ones as well."""
        return len(self._tunnels) + len(self._poll)

    def claims(self, target: str) -> bool:
        """Tell whether a request with this target is one for tunnels."""
        return path_of(target).startswith(PATH)

    def welcome(self, request: h11.Request, wire: Wire, rest: bytes) -> Role | None:
        """Answer a request.

        :param wire: the connection that it came on.
        :param rest: what was sent behind its head.
        :returns: what the connection is for from now on; None when it has been refused, and finished.
        """
        try:
            method, verb = method_of(request)
            if method == "poll":
                return self._poll.welcome(request, wire, rest)
            headers = fields_of(request)
            tunnel = id_of(headers)
            check_body(headers, carries=verb == "POST")
            match method:
                case "upgrade":
                    check_upgrade(request, headers)
                    role: Role = self._single(method, tunnel, wire, rest, switching(UPGRADE))
                case "websocket":
                    answer, codec = accept_websocket(headers), WebSocketCodec(client=False)
                    role = self._single(method, tunnel, wire, rest, answer, codec)
                case "get-post":
                    role = self._get_post(request, verb, tunnel, wire, rest)
                case _:
                    role = self._two(verb, tunnel, wire, rest)
        except Refused as refused:
            self.statistics.refused[refused.reason] += 1
            wire.finish(refusal(refused))
            return None
        self._turn()
        return role

    # The methods.

    def _single(
        self,
        method: str,
        tunnel: str,
        wire: Wire,
        rest: bytes,
        answer: bytes,
        codec: Codec | None = None,
    ) -> Role:
        end = self._begin(method, tunnel, wire.source)
        wire.write(answer)
        channel = self._carry(end, wire, wire, codec)
        if rest:
            channel.received(rest)
        return channel

    def _get_post(
        self, request: h11.Request, verb: str, tunnel: str, wire: Wire, rest: bytes
    ) -> Role:
        if verb != "GET" or request.http_version != b"1.1":
            sentence = "the POST has to follow its GET on the same connection, with HTTP/1.1."
            raise Refused(404, "no-get", sentence)
        end = self._begin("get-post", tunnel, wire.source)
        end.wait(wire.abort)
        wire.write(body_head(close=False))

        def broken(reason: str) -> None:
            self.statistics.refused[reason] += 1
            end.abort()

        role = GetPostRole(
            tunnel, lambda: self._carry(end, wire, wire), broken, lambda: self.over(end)
        )
        if rest:
            role.received(rest)
        return role

    def _two(self, verb: str, tunnel: str, wire: Wire, rest: bytes) -> Role:
        two = self._twos.get(tunnel)
        if two is None:
            end = self._begin("two", tunnel, wire.source)

            def begin(up: Wire, down: Wire) -> Channel:
                del self._twos[tunnel]
                end.source = down.source
                return self._carry(end, up, down, farewell=body_head(size=0, close=True))

            two = self._twos[tunnel] = Two(begin, lambda: self.over(end))
            end.wait(two.give_up)
        elif two.has(verb):
            raise _in_use()
        return two.come_down(wire) if verb == "GET" else two.come_up(wire, rest)

    def _begin(self, method: str, tunnel: str, source: Address) -> ServerEnd:
        """Count one more tunnel in.

        Where too many are half-made, the one that has had most time for its hello goes.

        :raises Refused: there is no room, or the id is in use.
        """
        if tunnel in self._tunnels:
            raise _in_use()
        self._guests.enter(source)
        end = self._tunnels[tunnel] = ServerEnd(self, method, tunnel, source)
        self._half.begin(end, self.clock.seconds())
        if len(self._half) > self.limits.half_made:
            oldest = self._half.oldest()
            assert oldest is not None
            self.statistics.refused["half-made"] += 1
            oldest.abort()
        return end

    def _carry(
        self,
        end: ServerEnd,
        up: Wire,
        down: Wire,
        codec: Codec | None = None,
        farewell: bytes | None = None,
    ) -> Channel:
        outward = None if down is up else down
        channel = Channel(self.clock, end, up, outward, codec=codec, farewell=farewell)
        end.carry(channel, up.stream.getHost())
        return channel

    # What tunnels tell.

    def opened(self, end: ServerEnd) -> None:
        """A tunnel's hello has come."""
        self._half.end(end)
        self.statistics.opened[end.method] += 1
        self.statistics.open[end.method] += 1

    def over(self, end: ServerEnd) -> None:
        """A tunnel is over; it may be told more than once."""
        if self._tunnels.get(end.tunnel) is not end:
            return
        del self._tunnels[end.tunnel]
        self._twos.pop(end.tunnel, None)
        self._half.end(end)
        self._turn()
        if end.open:
            self.statistics.open[end.method] -= 1
        self._guests.leave(end.charged)

    # The end.

    def close(self) -> None:
        """Take no more tunnels, and end those that are half-made; the others end as they like."""
        self._guests.close()
        for end in list(self._half):
            end.abort()

    def abort_all(self) -> None:
        """Take no more tunnels, and end all there are."""
        self._guests.close()
        for end in list(self._tunnels.values()):
            end.abort()
        self._poll.close()

    def when_empty(self) -> Deferred[None]:
        """Fires once no tunnel is left; at once when there is none."""
        return self._guests.when_empty()

    # The one timer.

    def _due_times(self) -> Iterator[float]:
        half = self._half.deadline()
        if half is not None:
            yield half
        if self._tunnels:
            yield self._swept + self.limits.idle_time

    def _turn(self) -> None:
        """Set the timer for what is due next."""
        self._alarm.set(min(self._due_times(), default=None))

    def _due(self) -> None:
        now = self.clock.seconds()
        for end in self._half.take_due(now):
            self.statistics.refused["hello-time"] += 1
            end.abort()
        if now >= self._swept + self.limits.idle_time:
            self._swept = now
            self._sweep()
        self._turn()

    def _sweep(self) -> None:
        """End the tunnels through which nothing has come since the last time."""
        for end in list(self._tunnels.values()):
            if end.open and not end.active:
                self.statistics.refused["idle"] += 1
                end.abort()
            end.active = False


def _in_use() -> Refused:
    return Refused(409, "id-in-use", "there is a tunnel with this id.")
