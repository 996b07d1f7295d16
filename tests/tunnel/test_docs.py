"""docs/tunnel.rst says what the code does: numbers and examples."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.world import World, request
from wavesync.tunnel.answers import BODY_SIZE
from wavesync.tunnel.channel import LINGER
from wavesync.tunnel.connection import CLOSE_LIFE
from wavesync.tunnel.errors import Why
from wavesync.tunnel.heads import MAX_HEAD
from wavesync.tunnel.hello import HELLO_SIZE, MAGIC
from wavesync.tunnel.limits import TunnelLimits
from wavesync.tunnel.place import METHODS, PATH
from wavesync.tunnel.requests import UPGRADE
from wavesync.tunnel.server_roles import EARLY
from wavesync.tunnel.websocket import MAX_MESSAGE, SUBPROTOCOL

TEXT = (Path(__file__).parents[2] / "docs" / "tunnel.rst").read_text(encoding="utf-8")
WORDS = " ".join(TEXT.split())


def indented(head: bytes) -> str:
    """A head as the document shows it."""
    lines = head.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")
    return "".join(f"    {line}\n" for line in lines)


class DocumentTests(SynchronousTestCase):
    """Somebody who writes a peer from the text gets one that works."""

    def test_examples(self) -> None:
        """The examples are what both ends write."""
        for method in ("upgrade", "get-post"):
            world = World()
            values = iter([bytes([0xAB]) * 16, bytes(12), bytes([0, 1, 2, 3])])
            world.random = lambda size, values=values: next(values)  # type: ignore[misc]
            world.open(method)
            world.pump()
            client, server = world.paths[0]
            for part in bytes(client.sent).split(b"\r\n\r\n")[: 1 if method == "upgrade" else 2]:
                self.assertIn(indented(part), TEXT)
            self.assertIn(indented(bytes(server.sent)), TEXT)

    def test_examples_work(self) -> None:
        """Requests written as the examples are agreed to."""
        examples = [part for part in TEXT.split("\n\n") if part.startswith("    GET ")]
        self.assertEqual(len(examples), 2)
        for example in examples:
            head = "\r\n".join(line.strip() for line in example.splitlines()) + "\r\n\r\n"
            answered = bytes(World().raw(head.encode("ascii")).received)
            self.assertIn(answered[9:12], (b"101", b"200"))

    def test_methods(self) -> None:
        """Every method has its name and its section."""
        for method in METHODS:
            self.assertIn(f"``{method}``", TEXT)
            self.assertIn(f"\n{method}\n{'~' * len(method)}\n", TEXT)

    def test_numbers(self) -> None:
        """Numbers in the text are those of the code."""
        limits = TunnelLimits()
        for expected in (
            f"``{PATH}``",
            f"``Upgrade: {UPGRADE}``",
            f"``{SUBPROTOCOL}``",
            f"A head has {MAX_HEAD} bytes at most",
            f"The first {HELLO_SIZE} bytes of the stream up are a **hello**",
            f"``{MAGIC.decode('ascii')}`` and {HELLO_SIZE - len(MAGIC)} random ones",
            f"has not come within {limits.hello_time:g} s",
            f"no message of more than {MAX_MESSAGE:,} bytes",
            f"about {EARLY >> 10} KiB are taken",
            f"used up, for {LINGER:g} s at most",
            f"{limits.tunnels} tunnels, {limits.tunnels_per_host} from one address",
            f"{limits.half_made} tunnels whose hello has not come",
            f"{limits.hello_time:g} s for a hello",
            f"{limits.idle_time:g} s without a byte up",
            f"{limits.connections} connections, {limits.connections_per_host} from one address",
            f"{limits.heads} whose request has not come, {limits.head_time:g} s for it",
            f"{limits.poll_waiting} polls that wait for an answer",
            f"{limits.poll_bytes:,} bytes held each way",
            f"{CLOSE_LIFE:g} s for a peer to take the last bytes",
            f"Content-Length: {BODY_SIZE}",
        ):
            self.assertIn(expected, WORDS)
        self.assertEqual(BODY_SIZE, 10**12)

    def test_codes(self) -> None:
        """Every code of a failure has its line."""
        for why in Why:
            self.assertIn(f"\n``{why}``", TEXT)

    def test_refusals(self) -> None:
        """Statuses and reasons are in the table: those that a stranger can provoke."""
        table = TEXT.partition("\nRefusals\n")[2].partition("\nWhat a server has room for\n")[0]
        post = ("Content-Length: 5",)
        for data in (
            b"?\r\n\r\n",
            request("GET", "two", ""),
            request("POST", "two", "ab" * 16, *post),
            request("POST", "two"),
            request("GET", "upgrade"),
            request("GET", "websocket"),
            request("GET", "nothing"),
            request("PUT", "two"),
            request("POST", "get-post", "ab" * 16, f"Content-Length: {BODY_SIZE}"),
        ):
            world = World()
            status = bytes(world.raw(data).received)[9:12].decode("ascii")
            (reason,) = world.server.statistics.refused
            lines = [line for line in table.splitlines() if line.startswith(status)]
            self.assertTrue(any(reason in line for line in lines), (status, reason))
