"""Tests for what only joins of plain legs have: :mod:`wavesync.relay.flow`, ``sockets``, ``plumbing``."""

import gc
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from tests.abuse.memory import memory
from tests.relay.join_support import PATIENCE, Far, Legs, far_reset, pause, receive, send, until
from wavesync.relay.joining import join
from wavesync.relay.pair import MAX_HELD, MAX_HELD_ONE_WAY
from wavesync.relay.pipes import MAX_SPARE, PIPE_SIZE, Pipe, PipePool
from wavesync.relay.plumbing import FEW, LITTLE, SHARED_BURST, SHARED_FOR, Plumbing

BIG = os.urandom(1 << 20) * 4


class NoPipes(PipePool):
    """Gives what the kernel does not splice into, and says so (EINVAL)."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = socket.socketpair()

    def take(self) -> Pipe:
        """Give two sockets."""
        return self.ends[0].fileno(), self.ends[1].fileno()

    def give(self, pipe: Pipe) -> None:
        """Keep them."""


class Quiet:
    """A flow that has nothing to say when it is looked at."""

    talked = float("-inf")
    listed = False

    def attend(self) -> None:
        """Nothing."""


class Pairs(TestCase):
    """Makes pairs."""

    def setUp(self) -> None:
        self.legs = Legs(self.addCleanup)
        self.plumbing = Plumbing()
        self.addCleanup(lambda: self.plumbing.pipes.close())

    async def pair(self, tls: bool = False) -> tuple[Any, Far, Far]:
        """Join two legs."""
        client, far_client = await self.legs.make(tls=tls)
        server, far_server = await self.legs.make()
        return join(reactor, client, server, plumbing=self.plumbing), far_client, far_server

    async def through(self, client: Far, server: Far, data: bytes = BIG) -> None:
        """Have data go from one end to the other."""
        sending = Deferred.fromCoroutine(send(client, data))
        self.assertTrue(await receive(server, len(data)) == data, "the bytes are not the same")
        await sending

    async def stuff(self, far: Far) -> int:
        """Send until nobody takes any more."""
        total = idle = 0
        while idle < 20:
            try:
                total += far.send(bytes(65536))
                idle = 0
            except BlockingIOError:
                idle += 1
                await pause(0.005)
        return total


class KernelJoinTests(Pairs):
    """Bytes stay in the kernel, and whatever the kernel lacks, all of them arrive."""

    async def test_counted(self) -> None:
        """Nearly all bytes of much are moved in the kernel, and the counters say so."""
        pair, client, server = await self.pair()
        await self.through(client, server)
        await self.through(server, client)
        self.assertEqual((pair.up, pair.down), (len(BIG), len(BIG)))
        self.assertEqual(self.plumbing.spliced + self.plumbing.copied, 2 * len(BIG))
        self.assertLess(self.plumbing.copied, len(BIG) // 8)

    async def test_what_is_a_conversation(self) -> None:
        """A little at the end of much is no conversation, for whose sake others would be slowed."""
        pair, client, server = await self.pair()
        await self.through(client, server, bytes(50_000))
        await self.through(client, server, b"end")
        self.assertEqual(self.plumbing.burst(pair.last_moved), PIPE_SIZE)
        await self.through(client, server, b"more")
        self.assertEqual(self.plumbing.burst(pair.last_moved), SHARED_BURST)

    async def test_urgent_byte(self) -> None:
        """A client that sends TCP's urgent byte loses that byte, and stops nothing."""
        _, client, server = await self.pair()
        for much in (b"", bytes(4 * FEW)):  # copied, and with the kernel's help
            await self.through(client, server, much + b"abc")
            client.send(b"!", socket.MSG_OOB)
            await send(client, b"def")
            self.assertEqual(await receive(server, 3), b"def")
        client.send(b"!", socket.MSG_OOB)
        await send(client, b"ghi")
        client.close()
        self.assertEqual(await receive(server, 9), b"ghi")

    async def test_pipes_are_shared(self) -> None:
        """Ten pairs that move much need no more pipes than one does."""
        pairs = [await self.pair() for _ in range(10)]
        for _, client, server in pairs:
            await self.through(client, server, BIG[: 1 << 20])
        self.assertTrue(self.plumbing.pipes.open <= 2, f"{self.plumbing.pipes.open} pipes")
        self.assertEqual(self.plumbing.pipes.open, self.plumbing.pipes.spare)

    async def test_no_pipe(self) -> None:
        """A pair that gets no pipe copies, and nothing is lost."""
        self.plumbing = Plumbing(pipes=PipePool(0))
        _, client, server = await self.pair()
        await self.through(client, server)
        self.assertEqual((self.plumbing.spliced, self.plumbing.copied), (0, len(BIG)))
        self.assertTrue(self.plumbing.pipes.missed)
        self.assertTrue(self.plumbing.kernel)

    async def test_pipes_run_out(self) -> None:
        """When stuck pairs hold all pipes others copy; later all is moved in the kernel again."""
        self.plumbing = Plumbing(pipes=PipePool(1))
        _, stuck_client, stuck_server = await self.pair()
        sent = await self.stuff(stuck_client)
        _, client, server = await self.pair()
        await self.through(client, server, BIG[: 1 << 20])
        self.assertEqual(len(await receive(stuck_server, sent)), sent)
        copied = self.plumbing.copied
        await self.through(client, server, BIG[: 1 << 20])
        self.assertLess(self.plumbing.copied, copied + (1 << 18))

    async def test_no_splice_after_all(self) -> None:
        """Where splicing fails for these sockets the relay copies from then on."""
        pipes = NoPipes()
        for end in pipes.ends:
            self.addCleanup(end.close)
        self.plumbing = Plumbing(pipes=pipes)
        _, client, server = await self.pair()
        await self.through(client, server)
        self.assertFalse(self.plumbing.kernel)
        self.assertEqual(self.plumbing.trouble, "splice(2) fails: Invalid argument")
        self.assertEqual(self.plumbing.spliced, 0)

    async def test_stuck_pipes_are_closed(self) -> None:
        """No pair gets a pipe with another pair's bytes in it."""
        pair, client, _ = await self.pair()
        sent = count(60_000, 60_000)
        while not pair.held:
            # Little by little: who moves much waits for room first, and nothing gets stuck.
            await send(client, b"theirs" * 10_000)
            await until(partial(self.gone_or_stuck, pair, next(sent)))
        pair.abort("idle")
        await pair.over
        for pipe in self.plumbing.pipes._spare:
            self.assertRaises(BlockingIOError, os.read, pipe[0], 1)
        _, client, server = await self.pair()
        await self.through(client, server, b"only mine")

    def gone_or_stuck(self, pair: Any, sent: int) -> bool:
        """Tell whether something is held, or nothing is left to take."""
        return bool(pair.held or pair.up == sent)

    async def stops_in_full_flight(self, plumbing: Plumbing) -> None:
        """See the tests below."""
        self.plumbing = plumbing
        self.addCleanup(plumbing.pipes.close)
        pair, client, server = await self.pair()
        sending = Deferred.fromCoroutine(send(client, BIG * 12))
        sending.addErrback(lambda _: None)
        await receive(server, len(BIG) * 3)
        most = 0
        still = 0
        while still < 20:
            before = pair.up
            await pause(0.005)
            most = max(most, pair.held)
            still = still + 1 if pair.up == before else 0
        self.assertTrue(most <= MAX_HELD_ONE_WAY, f"{most} bytes were held")
        pair.abort("enough")
        await pair.over
        client.close()
        await sending

    async def test_stops_in_full_flight(self) -> None:
        """A reader that stops while all goes by the megabyte leaves no more than the limit held."""
        await self.stops_in_full_flight(Plumbing())

    async def test_stops_in_full_flight_copied(self) -> None:
        """The same where bytes are copied."""
        await self.stops_in_full_flight(Plumbing(kernel=False))

    async def test_many_stalled(self) -> None:
        """Fifty pairs whose readers do nothing: the process grows by no more than the limit says."""
        await self.stalled(count=50, tls=False, most=50 * 16 * 1024)

    async def test_many_stalled_over_tls(self) -> None:
        """Twenty with legs over TLS, which hold the limit in user space."""
        await self.stalled(count=20, tls=True, most=20 * MAX_HELD)

    async def stalled(self, *, count: int, tls: bool, most: int) -> None:
        """See the tests above."""
        made = [await self.pair(tls) for _ in range(count)]
        data = bytes(1 << 18)
        gc.collect()
        before = memory()
        # The kernel's buffers take megabytes of each; smaller ones make the test faster.
        for _, client, _ in made:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        least = count * MAX_HELD_ONE_WAY
        still, last, end = 0, -1, reactor.seconds() + PATIENCE
        # A kernel that is short of memory takes its time, and says nothing meanwhile.
        while still < 10 or last <= least:
            self.assertLess(reactor.seconds(), end, f"{last} of more than {least} bytes")
            for _, _, server in made:
                try:
                    while server.send(data):
                        pass
                except BlockingIOError:
                    pass
            total = sum(pair.down for pair, _, _ in made)
            still, last = (still + 1, last) if total == last else (0, total)
            await pause(0.01)
        gc.collect()
        grown = memory() - before
        self.assertTrue(grown <= most, f"{grown} bytes for {count} stalled pairs")
        self.assertTrue(all(getattr(pair, "held", 0) <= MAX_HELD for pair, _, _ in made))

    async def test_reset_unnoticed(self) -> None:
        """A client that breaks while its server reads nothing seems dead."""
        client, far_client = await self.legs.make()
        server, _ = await self.legs.make()
        pair = join(reactor, client, server, plumbing=self.plumbing)
        await self.stuff(far_client)
        self.assertFalse(pair.dying())
        far_reset(far_client)
        await until(pair.dying)
        pair.abort("dead")
        self.assertEqual(await pair.over, "dead")

    async def test_conversation_beside_bulk(self) -> None:
        """A few bytes get through in a few turns, while others move all they can."""
        bulk = [await self.pair() for _ in range(4)]
        _, client, server = await self.pair()
        streams = [
            Deferred.fromCoroutine(work)
            for _, source, sink in bulk
            for work in (send(source, BIG * 64), receive(sink, len(BIG) * 64))
        ]
        for stream in streams:
            stream.addErrback(lambda _: None)
        between = []
        for _ in range(25):
            before = sum(pair.up for pair, _, _ in bulk)
            await send(client, b"?" * 64)
            await receive(server, 64)
            await send(server, b"!" * 64)
            await receive(client, 64)
            between.append(sum(pair.up for pair, _, _ in bulk) - before)
        self.assertTrue(statistics.median(between) <= 4 * 4 * SHARED_BURST, between)
        for pair, _, _ in bulk:
            pair.abort("enough")
            await pair.over
        for stream in streams:
            await stream


class PlumbingTests(SynchronousTestCase):
    """Who moves much leaves room for who says little."""

    def test_burst(self) -> None:
        """For a moment after each small move all take less at a time."""
        plumbing = Plumbing(kernel=False)
        self.assertEqual(plumbing.burst(100.0), PIPE_SIZE)
        plumbing.talk(Quiet(), 100.0)
        self.assertEqual(plumbing.burst(100.0 + SHARED_FOR / 2), SHARED_BURST)
        self.assertEqual(plumbing.burst(100.0 + 2 * SHARED_FOR), PIPE_SIZE)

    def test_off(self) -> None:
        """A relay that is told not to splice has no trouble, and does not."""
        plumbing = Plumbing(kernel=False)
        self.assertEqual((plumbing.kernel, plumbing.trouble), (False, None))

    def test_buffer(self) -> None:
        """All share one buffer."""
        plumbing = Plumbing(kernel=False)
        self.assertIdentical(plumbing.buffer, plumbing.buffer)
        self.assertEqual(len(plumbing.buffer), PIPE_SIZE)
        self.assertTrue(LITTLE < SHARED_BURST < PIPE_SIZE and MAX_SPARE)


def end_traced(log: str) -> None:
    """End the process that is traced; its tracer ends with it."""
    os.kill(int(Path(log).read_text().split(None, 1)[0]), signal.SIGKILL)


_CALL = re.compile(r"^\d+ +(\w+)\(\d+<TCP.*\) += (\d+)$", re.MULTILINE)


class TracedTests(TestCase):
    """The kernel says itself who touched the payload."""

    async def test_system_calls(self) -> None:
        """Of megabytes that went through, a process that joins kernel-wise has read next to none."""
        strace = shutil.which("strace")
        if strace is None or subprocess.run([strace, "-o", "/dev/null", "true"]).returncode:
            raise SkipTest("strace may not trace here")
        log = os.path.abspath(self.mktemp())
        command = [strace, "-f", "-yy", "-o", log, "-e"]
        command += ["trace=read,recvfrom,recvmsg,readv,write,sendto,sendmsg,writev,splice"]
        command += [sys.executable, "-m", "benchmarks.relay_end", "kernel"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        self.addCleanup(process.wait)
        self.addCleanup(end_traced, log)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        line = await deferToThread(process.stdout.readline)
        ends = [socket.create_connection(("127.0.0.1", int(port))) for port in line.split()]
        for end in ends:
            self.addCleanup(end.close)
            end.setblocking(False)
        sending = Deferred.fromCoroutine(send(ends[0], BIG))
        self.assertTrue(await receive(ends[1], len(BIG)) == BIG)
        await sending
        for end in ends:
            end.close()
        moved: dict[str, int] = {}

        def traced() -> bool:
            moved.clear()
            for call, result in _CALL.findall(Path(log).read_text()):
                moved[call] = moved.get(call, 0) + int(result)
            return moved.get("splice", 0) + moved.get("recvfrom", 0) >= len(BIG)

        await until(traced)
        # What comes first might be all there is, and is not worth a pipe.
        self.assertEqual({call for call in moved if moved[call]}, {"splice", "recvfrom", "sendto"})
        self.assertLess(moved["recvfrom"], len(BIG) // 8)
