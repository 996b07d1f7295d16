"""How services that cannot start end the process, as wavesync.services does it."""

from io import StringIO

from twisted.application.service import IService, Service
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wavesync.errors import NotAllowed, SettingsError
from wavesync.services import OrExit, exit_with


class Broken(Service):
    """Cannot start."""

    def startService(self) -> None:
        """Refuse."""
        raise NotAllowed("not today")

    privilegedStartService = startService


class OrExitTests(SynchronousTestCase):
    """One sentence instead of a traceback."""

    def test_cannot_start(self) -> None:
        """The sentence is printed after the service's name, the status is the error's."""
        for start in ("startService", "privilegedStartService"):
            stream = StringIO()
            service = OrExit("wavesync-x", Broken(), stream)
            end = self.assertRaises(SystemExit, getattr(service, start))
            self.assertEqual((end.code, stream.getvalue()), (3, "wavesync-x: not today\n"))
            self.assertFalse(service.running)

    def test_starts(self) -> None:
        """A service that can start is started and stopped."""
        inner = Service()
        outer = OrExit("wavesync-x", inner)
        verifyObject(IService, outer)
        outer.privilegedStartService()
        outer.startService()
        self.assertTrue(inner.running and outer.running)
        outer.stopService()
        self.assertFalse(inner.running or outer.running)

    def test_exit_with(self) -> None:
        """A wrong setting ends with status 2."""
        stream = StringIO()
        end = self.assertRaises(SystemExit, exit_with, "x", SettingsError("no"), stream)
        self.assertEqual((end.code, stream.getvalue()), (2, "x: no\n"))
