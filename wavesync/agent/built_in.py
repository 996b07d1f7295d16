"""The services of an agent, with the one that it has by itself in front of those of its settings."""

from collections.abc import Sequence

from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint

from wavesync.doctor.answering import SERVICE, Doctor
from wavesync.identity.verify import Peer
from wavesync.session.services import Services

__all__ = ["WithDoctor"]


class WithDoctor:
    """Finds ``.wavesync``, and all else where it was found before.

    :param services: what clients may open.
    :param doctor: answers questions.
    """

    def __init__(self, services: Services, doctor: Doctor) -> None:
        self._services = services
        self._doctor = doctor

    def __call__(self, name: str, peer: Peer) -> IStreamClientEndpoint | IProtocolFactory | None:
        """Look one up."""
        if name == SERVICE:
            return self._doctor.service(peer)
        return self._services(name, peer)

    def names(self, peer: Peer) -> Sequence[str]:
        """The names that a client is told of: those of the settings."""
        names = getattr(self._services, "names", None)
        return [] if names is None else list(names(peer))
