"""What the tests of client and server sessions have in common."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.session.support import (
    Path,
    PathEnd,
    Recorder,
    System,
    build,
    wall_clock,
)
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.verify import Peer
from wavesync.session.client import ClientSession, connect_session
from wavesync.session.server import (
    NamedServices,
    ServerSessionFactory,
    Services,
)


@implementer(IStreamClientEndpoint)
class Dialled:
    """An endpoint whose connections are made by the test."""

    def __init__(self) -> None:
        self.factory: IProtocolFactory | None = None
        self.answer: Deferred[IProtocol] = Deferred(self._cancelled)
        self.cancelled = False

    def _cancelled(self, _: object) -> None:
        self.cancelled = True

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Note who asks."""
        self.factory = factory
        return self.answer

    def succeed(self) -> PathEnd:
        """The service takes the connection; its transport."""
        assert self.factory is not None
        protocol = build(self.factory)
        end = PathEnd("local")
        end.protocol = protocol
        protocol.makeConnection(end)
        self.answer.callback(protocol)
        return end


class SessionCase(SynchronousTestCase):
    """A system, a server with services, and clients that connect to it."""

    def setUp(self) -> None:
        """Make all that."""
        self.clock = Clock()
        self.system = System()
        self.client_credentials = self.system.client()
        self.server_credentials = self.system.server()
        self.apps: list[Recorder] = []
        self.endpoint = Dialled()
        self.log: list[tuple[str, str]] = []
        self.transports: list[ITransport] = []
        self.app_class: type[Recorder] = Recorder
        self.revoked: set[int] = set()
        self.factory = self.serve()

    def serve(
        self,
        services: Services | None = None,
        *,
        max_sessions: int = 10,
        max_sessions_per_client: int = 10,
        max_pending: int = 10,
    ) -> ServerSessionFactory:
        """A server's factory."""

        def lost(peer: Peer, transport: ITransport) -> None:
            self.log.append(("lost", peer.text))
            self.assertIn(transport, self.transports)

        def authenticated(peer: Peer, transport: ITransport) -> None:
            self.log.append(("authenticated", peer.text))
            self.transports.append(transport)

        table: dict[str, IStreamClientEndpoint | IProtocolFactory] = {
            "app": Factory.forProtocol(self.make_app),
            "dial": self.endpoint,
        }
        return ServerSessionFactory(
            self.server_credentials,
            services if services is not None else NamedServices(table),
            self.clock,
            on_authenticated=authenticated,
            on_lost=lost,
            wall_clock=wall_clock,
            revoked=self.revoked.__contains__,
            max_sessions=max_sessions,
            max_sessions_per_client=max_sessions_per_client,
            max_pending=max_pending,
        )

    def make_app(self) -> Recorder:
        """A protocol that serves a session itself."""
        app = self.app_class()
        self.apps.append(app)
        return app

    def start(
        self,
        credentials: Credentials | None = None,
        target: Target | None = None,
        server: IProtocol | None = None,
    ) -> tuple[Path, Deferred[ClientSession]]:
        """Connect a client over a new path."""
        factory, ready = connect_session(
            credentials if credentials is not None else self.client_credentials,
            target if target is not None else self.server_credentials.target,
            self.clock,
            wall_clock=wall_clock,
        )
        path = Path(self.clock)
        client = build(factory)
        if server is None:
            server = build(self.factory)
        path.connect(client, server)
        return path, ready

    def session(self) -> tuple[Path, ClientSession]:
        """An authenticated session."""
        path, ready = self.start()
        return path, self.successResultOf(ready)

    def opened(self, app: Recorder, service: str = "app") -> tuple[Path, ClientSession]:
        """A session with an open service."""
        path, session = self.session()
        opening = session.open(service, app)
        path.pump()
        self.assertIs(self.successResultOf(opening), app)
        return path, session

    def assert_quiet(self) -> None:
        """Nothing is left behind."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.factory.pending, self.factory.serving), (set(), {}))
        self.assertEqual((self.factory._strangers, self.factory._idle), ({}, {}))
