"""A product at work in a laboratory, for faults to happen to, and figures of how long they last."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import LabError
from tests.lab.live import serve_live, view
from tests.lab.processes import Process, poll
from tests.lab.product import WEB, Product
from tests.lab.topology import Lab

__all__ = [
    "CLOCKS",
    "FAKE",
    "MAPPED",
    "PORT",
    "REGISTERED",
    "SMALL",
    "Figure",
    "Scene",
    "side_by_side",
]

CLOCKS = ("mediator", "agent", "client")
"""Whose clock can be wrong."""

FAKE = {
    # The loader knows its architecture's directory.
    "LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_DONT_RESET": "1",
}
"""Variables that let a process's clock be shifted; its timers go on as they are."""

PORT = 9000
"""Where the client's forwarding listens."""

REGISTERED = "registered with"
"""What an agent says when it is registered."""

MAPPED = "sees this server's UDP port as"
"""What it says when its mediator sees its UDP port at a new place."""

SMALL = "small"
"""A small file that the web server has."""

_LIVE, _LIVE_AT, _LIVE_PORT = "live", 8090, 9001


@dataclass(frozen=True, slots=True)
class Figure:
    """How long something took.

    :ivar what: in words.
    :ivar seconds: measured.
    :ivar limit: seconds it may take.
    """

    what: str
    seconds: float
    limit: float

    def __str__(self) -> str:
        return f"{self.seconds:6.1f} s (limit {self.limit:g} s)  {self.what}"

    def tell(self, said: str) -> None:
        """Print it.

        :param said: what the program has said that it is of.
        :raises LabError: when it is beyond its limit.
        """
        print(self, flush=True)
        if self.seconds > self.limit:
            raise LabError(f"too long: {self}; said was: {said}")


class Scene:
    """A product at work: a client on the first site holds a forwarding to the second one open.

    :ivar figures: what has been measured.
    """

    def __init__(self, lab: Lab, *, clocks: bool = False) -> None:
        """
        Start everything.

        :param clocks: have clocks that `set_clock` sets.
        """
        self.lab = lab
        self.product = Product(lab, services={_LIVE: f"tcp:127.0.0.1:{_LIVE_AT}"})
        for who in CLOCKS if clocks else ():
            self.set_clock(who, 0)
            self.product.environments[who] = {
                **FAKE,
                "FAKETIME_TIMESTAMP_FILE": str(self._clock(who)),
                "FAKETIME_NO_CACHE": "1",
            }
        self.figures: list[Figure] = []
        self._small = self.product.payload(SMALL, 20_000)
        serve_live(self.product.server_host, _LIVE_AT)
        self.product.start()
        self.product.forward(_LIVE, _LIVE_PORT)
        self.product.forward(WEB, PORT)
        if not self.forwarded():
            raise LabError(f"the forwarding does not work: {self.complaints()}")

    @property
    def agent(self) -> Process:
        """The agent."""
        assert self.product.agent is not None
        return self.product.agent

    @property
    def mediator(self) -> Process:
        """The mediator."""
        assert self.product.mediator is not None
        return self.product.mediator

    def complaints(self) -> str:
        """What the forwarding has said so far."""
        assert self.product.forwarding is not None
        return self.product.forwarding.output()

    def said(self, process: Process, words: str) -> int:
        """How often a process has said that."""
        return process.output().count(words)

    def forwarded(self, timeout: float = 15.0) -> bool:
        """Fetch something small through the forwarding; tells whether it came."""
        url = f"http://127.0.0.1:{PORT}/{SMALL}"
        script = f"curl -sf -m {timeout:g} {url} | sha256sum"
        done = self.product.client_host.run(["sh", "-c", script], timeout=timeout + 5)
        return done.stdout.split()[0] == self._small

    def connected(self) -> bool:
        """The same with a client that knows nothing yet."""
        fetched = self.product.fetch(SMALL)
        return fetched.status == 0 and fetched.digest == self._small

    def set_clock(self, who: str, days: float) -> None:
        """Set the clock of one of :data:`CLOCKS`, so many days from the right time."""
        self._clock(who).write_text(f"{days * 86400:+.0f}\n")

    def _clock(self, who: str) -> Path:
        return self.product.files / f"clock-{who}"

    def watch(self, seconds: float) -> Process:
        """Begin to watch a live stream through a forwarding of its own."""
        return view(self.product.client_host, _LIVE_PORT, seconds)

    def note(self, what: str, seconds: float, limit: float) -> None:
        """
        Note a figure.

        :raises LabError: when it is beyond its limit.
        """
        figure = Figure(what, seconds, limit)
        self.figures.append(figure)
        figure.tell(self.complaints())

    def until(self, what: str, since: float, limit: float, question: Callable[[], bool]) -> None:
        """Ask until the answer is yes, and note how long it took.

        :param since: when it began, by the monotonic clock.
        :raises LabError: not within the limit.
        """
        left = limit - (time.monotonic() - since)
        poll(question, max(left, 0.0), lambda: f"{what}; the forwarding said {self.complaints()}")
        self.note(what, time.monotonic() - since, limit)


def side_by_side(*stories: Callable[[], object]) -> None:
    """
    Have several things happen at one time, each in a laboratory of its own, and wait for all.

    :raises LabError: what the first one that failed raised.
    """
    with ThreadPoolExecutor(len(stories)) as threads:
        ends = [threads.submit(story) for story in stories]
    for end in ends:
        end.result()
