"""The path through a relay: the way that works where no direct one does (seed, "Relaying")."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from wavesync.client.paths import Sessions, verified_over
from wavesync.client.relay_choice import RelayOption
from wavesync.client.relay_dials import RelayDials
from wavesync.client.relay_leg import RelayLeg
from wavesync.errors import ConnectFailed
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.session.client import ClientSession
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_urls import MAX_RELAYS, Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind
from wavesync.tunnel.watch import blame, cut_short, way_of
from wavesync.tunnel.way import RAW, Route

__all__ = ["ANSWER_WITHIN", "MAX_HOPS", "MAX_REDIALS", "MAX_REPEATS", "RelayPath", "Relaying"]

ANSWER_WITHIN = 1.0
"""Seconds that a relay has to answer where there is another one to ask."""

MAX_HOPS = 2
"""Redirects to other relays that are followed."""

MAX_REDIALS = 6
"""Times that one relay is dialled again, each by another way, since a connection brought no answer."""

MAX_REPEATS = 2
"""Times that one path signs again over a relay's nonce, whichever relay asks for it."""


class Relaying:
    """What all paths through relays have in common.

    :param credentials: the client's.
    :param dial: makes the endpoint of a relay.
    :param wall_clock: seconds since the epoch.
    :param text: says by which way a connection was made.
    """

    def __init__(
        self,
        clock: IReactorTime,
        credentials: Credentials,
        dial: Callable[[Relay], IStreamClientEndpoint],
        *,
        wall_clock: Callable[[], float],
        text: Callable[[object], str] = lambda transport: "",
    ) -> None:
        self.text = text
        self.clock = clock
        self.credentials = credentials
        self.dial = dial
        self.wall_clock = wall_clock

    def request(self, option: RelayOption, server: Target, connection_id: str) -> bytes:
        """Sign a request for one relay."""
        prover = Prover(
            self.credentials, option.relay.audience, self.wall_clock(), nonce=option.nonce
        )
        request = RelayRequest(RequestKind.CONNECT, server, connection_id)
        return request.encode(option.relay, prover)


class RelayPath:
    """One connection through whichever of some relays is nearest and has the server.

    :param server: its whole name.
    :param options: the relays.
    :param connection_id: 32 hex digits, by which mediator, relay and server know the connect.
    :ivar options: the relays that it begins with.
    :ivar relay: the relay that was asked last.
    :ivar way: by which way that was, for people.
    :ivar trip: seconds from asking it to its answer, which the server's end gives; None before that.
    """

    kind = "relay"
    on_heard: Callable[[], None] | None = None

    def __init__(
        self,
        relaying: Relaying,
        server: Target,
        options: Sequence[RelayOption],
        connection_id: str,
        sessions: Sessions,
    ) -> None:
        self.addresses: list[Address] = [(each.relay.host, each.relay.port) for each in options]
        self.relay: Relay | None = None
        self.way = ""
        self.trip: float | None = None
        self._relaying = relaying
        self._server = server
        self.options = tuple(options)
        self._connection_id = connection_id
        self._sessions = sessions
        self._prepared: tuple[IProtocolFactory, Deferred[ClientSession]] | None = None
        self._hops = self._repeats = 0

    @property
    def proved(self) -> tuple[RelayOption, ...]:
        """The relays for a further connection: first the one that had the server."""
        others = tuple(each for each in self.options if each.relay != self.relay)
        if self.relay is None:
            return others
        distance = {each.relay: each.distance for each in self.options}.get(self.relay, 0.0)
        return (RelayOption(self.relay, distance), *others)[:MAX_RELAYS]

    def open(self) -> Deferred[ClientSession]:
        """Ask the relays, and verify the server."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> ClientSession:
        dials = RelayDials(self._relaying.clock, self._relaying.dial)
        for option in self.options:
            dials.add(option)
        # While the first packets are under way: it takes some milliseconds.
        self._prepared = self._sessions()
        try:
            while True:
                option, leg = await dials.next()
                try:
                    session, again = await self._ask(option, leg, dials)
                except ConnectFailed as error:
                    dials.in_vain(option, str(error))
                    # Who does not answer may answer by another way.
                    way = way_of(leg.transport)
                    silent = leg.waited_for and not leg.answered
                    if way is not None and silent and len(option.useless) < MAX_REDIALS:
                        if way.method != RAW:
                            blame(leg.transport, str(error))
                        dials.add(replace(option, useless=option.useless | {way}))
                    continue
                if session is not None:
                    return session
                if again is not None:
                    dials.add(again)
        finally:
            dials.close()
            unused, self._prepared = self._prepared, None
            if unused is not None:
                unused[1].addErrback(lambda _: None)
                unused[1].cancel()

    async def _ask(
        self, option: RelayOption, leg: RelayLeg, dials: RelayDials
    ) -> tuple[ClientSession | None, RelayOption | None]:
        """Ask one relay.

        :returns: the session, or which relay to ask instead.
        """
        relay = self.relay = option.relay
        self.way = self._relaying.text(leg.transport)
        if self.on_heard is not None:
            self.on_heard()
        factory, verified = self._prepared or self._sessions()
        self._prepared = None
        request = self._relaying.request(option, self._server, self._connection_id)
        other: list[RelayAnswer] = []

        def judge(answer: RelayAnswer) -> RelayAnswer:
            self.trip = self._relaying.clock.seconds() - asked_at
            if answer.status != 101:
                other.append(answer)
                raise ConnectFailed(_sentence(relay, answer))
            return answer

        asking, asked_at = leg.ask(request, factory), self._relaying.clock.seconds()
        late: list[ConnectFailed] = []

        def hurry() -> None:
            if dials.ready:
                late.append(ConnectFailed(f"the relay {relay} does not answer"))
                asking.cancel()

        def answered(result: RelayAnswer | Failure) -> RelayAnswer | Failure:
            if waiting.active():
                waiting.cancel()
            return Failure(late[0]) if late else result

        waiting = self._relaying.clock.callLater(ANSWER_WITHIN, hurry)
        asked = asking.addBoth(answered).addCallback(judge)
        try:
            session = await verified_over(asked, verified, self.kind)
        except ConnectFailed:
            again = self._instead(option, other[0]) if other else None
            if again is None:
                raise
            return None, again
        session.path_address = relay.host, relay.port
        session.path_words = f"through the relay {self.way or relay}"
        leg.on_lost = partial(
            _leg_lost, session, leg
        )  # whoever uses it may leave when it hears of that
        session.connection_id = self._connection_id
        return session, None

    def _instead(self, option: RelayOption, answer: RelayAnswer) -> RelayOption | None:
        """What to do about an answer that is no session; ``None`` to give this relay up."""
        challenge, location = answer.challenge, answer.location
        if challenge is not None and challenge.name == option.relay.audience:
            self._repeats += 1
            if self._repeats <= MAX_REPEATS:
                return replace(option, nonce=challenge.nonce)
        if location is not None and _related(option.relay, location):
            self._hops += 1
            if self._hops <= MAX_HOPS:
                self.addresses.append((location.host, location.port))
                return RelayOption(location)
        return None


def _leg_lost(session: ClientSession, leg: RelayLeg) -> None:
    """A path is gone.

    Where it is broken off behind a proxy, the proxy may do that with whatever lasts.  Without one it is the
    server's end that breaks, more likely, and the server sees to that.
    """
    way = way_of(leg.transport)
    if not session.parting and way is not None and way.route is not Route.DIRECT:
        cut_short(leg.transport)


def _related(relay: Relay, other: Relay) -> bool:
    """Tell whether a relay may send clients to another one.

    A lying relay must not aim clients at whomever it likes: only at its siblings, hosts of the same
    domain or, for numeric addresses, of the same host; and never from TLS to none.
    """
    if relay.tls and not other.tls:
        return False
    if relay.host == other.host:
        return True
    domain = relay.host.partition(".")[2]
    numeric = ":" in relay.host or relay.host.replace(".", "").isdigit()
    return not numeric and "." in domain and other.host.endswith(f".{domain}")


def _sentence(relay: Relay, answer: RelayAnswer) -> str:
    """What a person is told of a refusal."""
    wait = f": try again in {answer.retry_after:.0f} s" if answer.retry_after else ""
    match answer.status:
        case 401:
            name = answer.challenge.name if answer.challenge is not None else ""
            if name and name != relay.audience:
                return (
                    f"the relay {relay} calls itself {name!r}, but is known here as"
                    f" {relay.audience!r}: set its name, or use the name in the URL"
                )
            return f"the relay {relay} does not accept these credentials"
        case 403:
            why = f": {answer.reason}" if answer.reason else ""
            return f"the relay {relay} does not accept these credentials{why}"
        case 404:
            return f"the relay {relay} does not have the server"
        case 307:
            return f"the relay {relay} sends to {answer.location}, which is not followed"
        case 429:
            return f"the relay {relay} allows no more connections now{wait}"
        case 503:
            return f"the relay {relay} is busy{wait}"
    return f"the relay {relay} answers with error {answer.status}"
