"""Runs a service with its two pages (:mod:`wavesync.metrics.page`) beside it."""

import socket
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorSocket, IReactorTime
from twisted.logger import Logger

from wavesync.errors import SettingsError
from wavesync.interfaces import Address
from wavesync.metrics.page import Observed, PageFactory
from wavesync.metrics.settings import MetricsSettings
from wavesync.signalling.listening import open_streams

__all__ = ["Measured"]


class Measured(Service):
    """A service whose figures can be looked at until it has stopped.

    :param service: the service itself.
    :param observed: tells of it.
    :param reactor: sockets and time.
    :param settings: where to listen.  An address that cannot be had is done without if it is the
        role's default.
    :ivar addresses: where the pages are, while it runs.
    """

    log = Logger()

    def __init__(
        self,
        service: IService,
        observed: Observed,
        reactor: IReactorSocket,
        settings: MetricsSettings,
    ) -> None:
        self.service = service
        self.addresses: tuple[Address, ...] = ()
        self._reactor = reactor
        self._settings = settings
        self._pages = PageFactory(observed, IReactorTime(reactor))
        self._ports: list[IListeningPort] = []

    def startService(self) -> None:
        """Begin to listen, and start the service.

        :raises SettingsError: the address, if it is not the default one, cannot be listened on; or
            the service cannot start.
        """
        self._listen()
        try:
            self.service.startService()
        except BaseException:
            self._close()
            raise
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop the service, then the pages: a relay that drains can be watched."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await maybeDeferred(self.service.stopService)
        finally:
            await self._close()

    def _close(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        self.addresses = ()
        self._pages.close_all()
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])

    def _listen(self) -> None:
        listen = self._settings.listen
        if not listen:
            return
        try:
            opened = open_streams([listen])
        except SettingsError as error:
            if self._settings != type(self._settings)():
                raise SettingsError(f"metrics: {error}") from None
            self.log.warn(
                "no metrics: {why} (the setting listen of [metrics] names another address,"
                ' or "" for none)',
                why=str(error),
            )
            return
        for each in opened:
            family = socket.AddressFamily(each.tcp.family)
            port = self._reactor.adoptStreamPort(
                each.tcp.fileno(),
                family,
                self._pages,  # type: ignore[arg-type]
            )
            self._ports.append(port)
            each.close()  # Twisted works on a duplicate
        self.addresses = tuple(each.address for each in opened)
        for host, port_number in self.addresses:
            shown = f"[{host}]" if ":" in host else host
            self.log.info("metrics at http://{host}:{port}/metrics", host=shown, port=port_number)
