"""How soon a relay notices that the other end of a connection is gone: ``python -m tests.relay.dead``.

Takes a minute and a half, needs root and nftables, and happens in a network namespace of its own, where the
packets of three connections are dropped from some moment on: of one that is parked, of a client's that
is idle, and of a client's that bytes are on their way to.  A fourth client reads nothing all the time: it
has to be left in peace.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.relay.world import RelayCase, reactor, until

__all__ = ["DeadTests"]

MOST = 30.0
"""Seconds within which a dead connection has to be noticed."""

PAUSE = 75.0
"""Seconds for which the fourth client reads nothing."""

ANSWER = 20_000_000


def nft(*commands: str) -> None:
    """Change this namespace's rules."""
    subprocess.run(["nft", "; ".join(commands)], check=True)


class DeadTests(RelayCase):
    """Connections whose packets are dropped."""

    timeout = 200

    def test_dead(self) -> Deferred[None]:
        """All three are noticed in time; the one that merely does not read goes on."""

        async def test() -> None:
            site = self.site()
            await site.park(4)
            target = site.credentials.target
            idle, busy, paused = [
                await self.visit(target, words) for words in (b"idle", b"busy", b"paused")
            ]
            await until(lambda: idle.data and busy.data and paused.data)
            legs = {leg.data: leg for leg in site.legs}
            paused.wire.pauseProducing()
            legs[b"paused"].wire.write(bytes(ANSWER))
            await deferLater(reactor, 1.0)
            nft("add table inet t", "add chain inet t in { type filter hook input priority 0; }")
            for end in (idle, busy, legs[b""]):
                port = end.wire.getHost().port
                for word in ("sport", "dport"):
                    nft(f"add rule inet t in tcp {word} {port} drop")
            legs[b"busy"].wire.write(b"more")
            began = reactor.seconds()
            house = self.service.house
            noticed: dict[str, float] = {}
            while reactor.seconds() < began + PAUSE:
                await deferLater(reactor, 0.1)
                now = round(reactor.seconds() - began, 1)
                if not len(house.roll):
                    noticed.setdefault("parked", now)
                for reason in house.statistics.ended:
                    noticed.setdefault(reason, now)
            print(f"seconds until it was noticed: {noticed}")  # noqa: T201
            self.assertEqual(set(noticed), {"parked", "client-broke", "dead"})
            self.assertLess(max(noticed.values()), MOST)
            nft("flush ruleset")
            paused.wire.resumeProducing()
            await until(lambda: len(paused.data) == ANSWER + len(b"paused"))

        return Deferred.fromCoroutine(test())


def main() -> int:
    """Do it in a network namespace of its own."""
    temporary = tempfile.mkdtemp()
    where = f"--temp-directory={temporary}/trial"
    trial = [sys.executable, "-m", "twisted.trial", where, "tests.relay.dead"]
    script = 'ip link set lo up && exec "$@"'
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = ["unshare", "-n", "sh", "-c", script, "sh", *trial]
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
