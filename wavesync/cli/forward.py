"""``wavesync forward``: a local port whose connections go to a service."""

import argparse
import sys
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wavesync.cli.commands import COMMANDS, new_parser
from wavesync.cli.common import (
    Plan,
    add_common,
    run_in_reactor,
)
from wavesync.cli.condition import Condition
from wavesync.client.connector import Connector
from wavesync.client.report import Timeline, format_address
from wavesync.client.watching import LocalEnd, SessionEnd, watched_bridge
from wavesync.errors import SettingsError
from wavesync.identity.ids import Target
from wavesync.interfaces import IReactor
from wavesync.session.names import check_service_name

if TYPE_CHECKING:
    from wavesync.cli.commands import Subparsers

__all__ = ["ForwardFactory", "add_parser", "listen_endpoint", "run_command"]

_EXAMPLES = """\
examples:
  wavesync forward SERVER.SYSTEM web 8080                  (http://127.0.0.1:8080/)
  wavesync forward SERVER.SYSTEM rtsp tcp:8554:interface=127.0.0.1
  wavesync forward SERVER.SYSTEM web unix:/run/user/1000/camera.sock

The listening endpoint is a port number (on 127.0.0.1 only) or a Twisted server endpoint.  The first
connection finds the way to the server; those that follow share it.  With --report, each connection
adds one line of JSON to the file when it ends.
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the parser of ``wavesync forward``."""
    parser = new_parser(subparsers, "forward", COMMANDS["forward"], _EXAMPLES)
    parser.add_argument("target", metavar="TARGET", help="SERVER.SYSTEM or SYSTEM")
    parser.add_argument("service", metavar="SERVICE", help="the service's name, such as web")
    parser.add_argument(
        "listen", metavar="LISTEN-ENDPOINT", help="a port number, or a Twisted server endpoint"
    )
    add_common(parser)


def listen_endpoint(reactor: IReactor, text: str) -> IStreamServerEndpoint:
    """Read where to listen; a mere port number means loopback only.

    :raises SettingsError: it is neither a port number nor an endpoint.
    """
    number = text.isascii() and text.isdigit()
    described = f"tcp:{text}:interface=127.0.0.1" if number else text
    if number and (len(text) > 5 or int(text) > 65535):
        raise SettingsError(f"cannot listen on {text!r}: a port number is 0 to 65535")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, described)
    except Exception as error:  # parsers are plugins, and may read files
        raise SettingsError(
            f"cannot listen on {text!r}: {error}; write a port number or an endpoint such as"
            " tcp:8080:interface=127.0.0.1"
        ) from None
    return endpoint


class ForwardFactory(Factory):
    """Makes the local ends of forwarded connections.

    :param connector: opens the service.
    :param report: file that each connection adds a line to; ``None`` for none.
    :ivar stopping: every connection is about to be closed, which is nothing to tell of.
    """

    noisy = False

    def __init__(
        self,
        reactor: IReactor,
        connector: Connector,
        target: Target,
        service: str,
        report: str | None = None,
    ) -> None:
        self._reactor = reactor
        self._connector = connector
        self._target = target
        self._service = service
        self._report = report
        self._condition = Condition(_say, reactor.seconds)
        self.stopping = False

    def buildProtocol(self, addr: IAddress | None) -> LocalEnd:
        """Open the service for a local connection (IProtocolFactory)."""
        timeline = Timeline(str(self._target), self._reactor.seconds)
        far, near = watched_bridge(timeline)
        # In a turn of its own, when the local end has its transport.
        self._reactor.callLater(0, self._open, far, near, timeline)
        return near

    def _open(self, far: SessionEnd, near: LocalEnd, timeline: Timeline) -> None:
        opening: Deferred[IProtocol] = self._connector.connect(
            self._target, self._service, far, timeline=timeline
        )
        # Whoever has gone away needs no connection any more.
        near.lost.addCallback(lambda _: opening.cancel())
        opening.addCallbacks(
            self._opened,
            self._failed,
            callbackArgs=(far, timeline),
            errbackArgs=(near, timeline),
        )

    def _opened(self, _: IProtocol, far: SessionEnd, timeline: Timeline) -> None:
        self._condition.opened()

        def over(reason: BaseException) -> None:
            if isinstance(reason, ConnectionAborted):
                # Browsers and players do that all day.
                timeline.outcome = "the local side broke its connection off"
            elif self.stopping:
                timeline.outcome = "interrupted"
            elif not isinstance(reason, ConnectionDone):
                timeline.outcome = str(reason)
                self._condition.broke(str(reason))
            self._write(timeline)

        far.lost.addCallback(over)

    def _failed(self, failure: Failure, near: LocalEnd, timeline: Timeline) -> None:
        if failure.check(CancelledError):
            timeline.outcome = "given up: the local side closed the connection"
        else:
            self._condition.failed(failure.getErrorMessage())
        self._write(timeline)
        abort = getattr(near.transport, "abortConnection", near.transport.loseConnection)
        abort()

    def _write(self, timeline: Timeline) -> None:
        if self._report is None:
            return
        try:
            with open(self._report, "a", encoding="utf-8") as file:
                file.write(timeline.as_line())
        except OSError as error:
            _say(f"the report {self._report} cannot be written: {error.strerror}")


def run_command(arguments: argparse.Namespace) -> int:
    """Do it, until interrupted."""
    service = check_service_name(arguments.service)
    plan = Plan.of(arguments)

    async def main(reactor: IReactor) -> int:
        endpoint = listen_endpoint(reactor, arguments.listen)
        connector = plan.open_connector(reactor)
        factory = ForwardFactory(reactor, connector, plan.target, service, plan.report)
        try:
            try:
                port = await endpoint.listen(factory)
            except (CannotListenError, OSError, OverflowError) as error:
                why = getattr(error, "socketError", None) or error
                raise SettingsError(f"cannot listen on {arguments.listen}: {why}") from None
            where = port.getHost()
            host, number = getattr(where, "host", None), getattr(where, "port", None)
            place = str(where) if number is None else format_address((host or "", number))
            print(f"listening on {place}, forwarding to {service} of {plan.target}", flush=True)
            forever: Deferred[int] = Deferred()
            return await forever
        finally:
            factory.stopping = True
            await connector.close()

    return run_in_reactor(main)


def _say(sentence: str) -> None:
    print(f"wavesync: {sentence}", file=sys.stderr, flush=True)
