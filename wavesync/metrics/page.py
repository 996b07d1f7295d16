"""The two pages that a service shows to its operator: ``/metrics`` and ``/health``."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

__all__ = ["LIFE", "MAX_CONNECTIONS", "MAX_REQUEST", "Observed", "PageFactory"]

MAX_CONNECTIONS = 16
"""Connections at one time; for one more, the oldest is closed."""

LIFE = 10.0
"""Seconds that a connection has for its one request and the answer."""

MAX_REQUEST = 16384
"""Bytes that are taken from a connection."""


class Observed(Protocol):
    """What a service tells of itself."""

    def collect(self) -> Iterable[Metric]:
        """Give all figures, as they are now."""

    def ailments(self) -> Sequence[str]:
        """Tell what is wrong, each in a few words; nothing when it is well."""


class _Figures(Collector):
    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterable[Metric]:
        return self._observed.collect()


class _Page(Resource, ABC):
    """Answers GET, and HEAD likewise without the body."""

    def render_HEAD(self, request: Request) -> bytes:
        request.setHeader(b"content-length", b"%d" % len(self.render_GET(request)))
        return b""

    @abstractmethod
    def render_GET(self, request: Request) -> bytes:
        """Make the body."""


class _MetricsPage(_Page):
    def __init__(self, observed: Observed) -> None:
        super().__init__()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Figures(observed))
        ProcessCollector(registry=self._registry)

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
        return generate_latest(self._registry)


class _HealthPage(_Page):
    def __init__(self, observed: Observed) -> None:
        super().__init__()
        self._observed = observed

    def render_GET(self, request: Request) -> bytes:
        wrong = list(self._observed.ailments())
        request.setResponseCode(503 if wrong else 200)
        request.setHeader(b"content-type", b"application/json")
        return json.dumps({"ok": not wrong, "wrong": wrong}).encode() + b"\n"


class _Request(Request):
    def process(self) -> None:
        """Answer, and have the connection closed: one request each."""
        self.channel.persistent = 0
        self.setHeader(b"connection", b"close")
        self.setHeader(b"cache-control", b"no-store")
        super().process()


class _Site(Site):
    """Without the log of requests, and the timer that goes with it."""

    def startFactory(self) -> None:
        """Nothing is to be started."""

    def stopFactory(self) -> None:
        """Nor stopped."""

    def log(self, request: BaseRequest) -> None:
        """Scrapes come every few seconds for years."""


class _Bounded(ProtocolWrapper):
    """A connection that ends soon, whatever the other side does."""

    factory: "PageFactory"
    _end: IDelayedCall | None = None
    _taken = 0

    def connectionMade(self) -> None:
        """It begins; Site's protocol has its own idea of time."""
        self._end = self.factory.clock.callLater(LIFE, self.abort)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes, but no more than a request needs."""
        self._taken += len(data)
        if self._taken > MAX_REQUEST:
            self.abort()
        else:
            super().dataReceived(data)

    def abort(self) -> None:
        """Close it now."""
        self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        if self._end is not None and self._end.active():
            self._end.cancel()
        super().connectionLost(reason)


class PageFactory(WrappingFactory):
    """Serves both pages to whoever connects.

    :param observed: the service.
    :param clock: for the time limits.
    """

    noisy = False
    protocol = _Bounded

    def __init__(self, observed: Observed, clock: IReactorTime) -> None:
        root = Resource()
        root.putChild(b"metrics", _MetricsPage(observed))
        root.putChild(b"health", _HealthPage(observed))
        site = _Site(root, requestFactory=_Request, reactor=clock, timeout=LIFE)
        site.noisy = False
        site.displayTracebacks = False
        super().__init__(site)
        self.clock = clock

    def registerProtocol(self, p: ProtocolWrapper) -> None:
        """A connection is there: close the oldest when there are too many."""
        super().registerProtocol(p)
        if len(self.protocols) > MAX_CONNECTIONS:
            cast(_Bounded, next(iter(self.protocols))).abort()

    def close_all(self) -> None:
        """Close every connection."""
        for each in list(self.protocols):
            cast(_Bounded, each).abort()
