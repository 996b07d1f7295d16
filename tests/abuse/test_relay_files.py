"""A relay that may have few open files: it says so once, goes on, and recovers."""

import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.relay.world import connect_request, park_request
from wavesync.identity.system import SystemCredentials
from wavesync.relay.descriptors import SPARE, Descriptors
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_lines import Pong, Ready

_ROOT = Path(__file__).parents[2]
_NAME = "relay.example"
_FILES = 120


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))


class DescriptorTests(SynchronousTestCase):
    """How many connections there may be."""

    def test_enough(self) -> None:
        """Where there are enough files all is as the settings say; else a line says how many."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with capturedLogs() as lines:
            self.assertEqual(Descriptors(100).connections, 100)
        self.assertEqual(list(lines), [])
        with capturedLogs() as lines:
            room = Descriptors(100_000_000).connections
        self.assertLess(room, 100_000_000)
        self.assertEqual(len(lines), 1)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[1], hard)


class FewFilesTests(SynchronousTestCase):
    """A relay in a process of its own, which may open few files."""

    def test_exhausted(self) -> None:
        """Three times as many connections as there are files: those beyond are closed; who was
        here is served meanwhile, and everybody when they are gone."""
        path = Path(self.mktemp()).absolute()
        path.write_text(
            f'listen = ["127.0.0.1:0"]\nname = "{_NAME}"\ndrain_grace = 0\n[metrics]\nlisten = ""\n'
        )
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "twisted", "--log-format", "text"),
                *("wavesync-relay", "--config", str(path)),
            ],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_limited,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        lines: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            lines.extend(process.stdout)  # one by one, as they come

        reading = threading.Thread(target=read)
        reading.start()
        self.addCleanup(reading.join)
        self.addCleanup(process.kill)
        port = self.port(lines)
        now = time.time()
        system = SystemCredentials.create(())
        server, client = system.add_server(now=now), system.add_client("alice", now=now)

        def dial(data: bytes = b"") -> socket.socket:
            dialled = socket.create_connection(("127.0.0.1", port), timeout=20)
            self.addCleanup(dialled.close)
            dialled.sendall(data)
            return dialled

        def park(number: int) -> socket.socket:
            prove = Prover(server, _NAME, time.time() + number / 1000)
            leg = dial(park_request(server, prove=prove))
            self.read(leg, b"PING\n")
            leg.sendall(Pong().encode())
            return leg

        def visit(leg: socket.socket, asking: socket.socket) -> None:
            asking.sendall(
                connect_request(client, server.target, prove=Prover(client, _NAME, time.time()))
                + b"hello"
            )
            self.read(leg, b"hello")
            leg.sendall(Ready().encode() + b"answer")
            self.read(asking, b"answer")

        parked, asking = park(1), dial()
        crowd = []
        closed = 0
        for number in range(3 * _FILES):
            try:
                crowd.append(dial())
            except ConnectionResetError:
                closed += 1
            if number < _FILES // 2:
                time.sleep(0.01)  # few may wait at one time in so small a relay
        visit(parked, asking)
        for each in crowd:
            each.settimeout(0.005)
            try:
                closed += each.recv(1) == b""
            except TimeoutError:
                pass
            except OSError:
                closed += 1
            each.close()
        self.assertGreater(closed, 2 * _FILES)
        self.assertLess(closed, 3 * _FILES - (_FILES - SPARE) // 3)
        visit(park(2), dial())
        process.terminate()
        reading.join()
        text = "".join(lines)
        self.assertEqual(text.count("open files, enough for"), 1, text)
        self.assertEqual(text.count("as many as there may be"), 1, text)
        self.assertLess(len(lines), 25, text)
        self.assertNotIn("EMFILE", text)
        self.assertNotIn("Traceback", text)

    def port(self, lines: list[str]) -> int:
        """Wait until it listens."""
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            for line in list(lines):
                found = re.search(r"is ready on .*127\.0\.0\.1:(\d+)", line)
                if found is not None:
                    return int(found[1])
            time.sleep(0.02)
        raise AssertionError(lines)

    def read(self, leg: socket.socket, end: bytes) -> None:
        """Read until something comes."""
        data = b""
        while not data.endswith(end):
            piece = leg.recv(65536)
            self.assertTrue(piece, data)
            data += piece
