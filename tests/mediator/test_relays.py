"""Which relays a mediator tells servers and clients of."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import Client, Server, World
from wavesync.errors import SettingsError
from wavesync.mediator.settings import MediatorSettings
from wavesync.settings import parse_settings
from wavesync.signalling.messages import Bind, ConnectAnswer
from wavesync.signalling.numbers import CONNECT_SIZE
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.relay_urls import parse_relay
from wavesync.stun.message import decode

ONE, TWO = parse_relay("http://one.example:3356"), parse_relay("https://two.example")
NEAR = parse_relay("http://127.0.0.1:3356")


class RelayTests(SynchronousTestCase):
    """Whoever needs a relay hears of one."""

    def setUp(self) -> None:
        self.world = World(relays=(str(ONE), str(TWO)))
        self.server = Server(self.world).register()
        self.client = Client(self.world)

    def connect(self, number: int = 0) -> ConnectAnswer:
        """What a client is told, in an introduction of that number."""
        return self.client.connect(self.server.target, f"{number:032x}")

    def test_servers(self) -> None:
        """A server that registers gets the mediator's list."""
        assert self.server.registered is not None
        self.assertEqual(self.server.registered.relays, (ONE, TWO))

    def test_none(self) -> None:
        """A mediator that knows no relays names none."""
        self.world = World()
        self.server = Server(self.world).register()
        self.client = Client(self.world)
        assert self.server.registered is not None
        self.assertEqual(self.server.registered.relays, ())
        self.assertEqual(self.connect().relays, ())

    def test_not_parked(self) -> None:
        """Clients of a server that names no relay hear of the mediator's, on its word alone."""
        self.assertEqual(self.connect(1).relays, (ONE, TWO))
        self.server.say(self.server.bind_bytes())
        self.assertEqual(self.connect(2).relays, (ONE, TWO))

    def test_parked(self) -> None:
        """Where the server has parked it has signed; nothing is added to that."""
        for relay in (TWO, NEAR):
            parked = (ParkedAt(relay, 0.03),)
            self.server.say(self.server.bind_bytes(relays=parked))
            answer = self.connect(relay.port)
            self.assertEqual(answer.relays, ())
            bind = Bind.decode(decode(answer.signed_addresses), allow_loopback=True)
            self.assertEqual(bind.relays, parked)
        self.server.say(self.server.bind_bytes())
        self.assertEqual(self.connect(3).relays, (ONE, TWO))

    def test_other_port(self) -> None:
        """Nothing but other ports of the same hosts: a client may get there by those only."""
        port = parse_relay("http://two.example")
        world = World(relays=(str(ONE), str(TWO), str(port)))
        server, client = Server(world).register(), Client(world)
        for number, (relay, others) in enumerate(((TWO, (port,)), (port, (TWO,)), (ONE, ()))):
            server.say(server.bind_bytes(relays=(ParkedAt(relay, 0.03),)))
            answer = client.connect(server.target, f"{number:032x}")
            self.assertEqual(answer.relays, others)

    def test_long_list(self) -> None:
        """The answer stays within the request's size, with the longest list and the longest bind."""
        world = World(relays=tuple(f"http://{letter * 116}:3356" for letter in "abcd"))
        server = Server(world).register()
        server.warm_up()
        server.say(server.bind_bytes(tuple((f"2001:db8::{n:x}", n) for n in range(1, 16))))
        raw = Client(world).connect_bytes(server.target)
        answer = Client(world).ask(raw)  # the driver compares the sizes
        self.assertLessEqual(len(answer.raw), CONNECT_SIZE)
        self.assertEqual(len(ConnectAnswer.decode(answer).relays), 1)
        server.say(server.bind_bytes())
        self.assertEqual(len(Client(world).connect(server.target, "1" * 32).relays), 3)

    def test_settings(self) -> None:
        """What is no relay, or one too many, is refused with a sentence."""
        four = ", ".join(f'"r{number}.example"' for number in range(4))
        settings = parse_settings(f"relays = [{four}]", MediatorSettings, name="x")
        self.assertEqual(len(settings.relay_list), 4)
        for relays in (f'{four}, "r5.example"', '"udp://r.example"', '"http://r.example/path"'):
            self.assertRaises(
                SettingsError, parse_settings, f"relays = [{relays}]", MediatorSettings, name="x"
            )
