"""Something happens to a site: an agent dies or is there twice, a router reboots, addresses change."""

from __future__ import annotations

from tests.lab.case import LabCase
from tests.lab.faults import agent_cloned, agent_killed, site_moved
from tests.lab.scene import Scene
from tests.lab.topology import SiteSettings

_CLONED = 6.0


class SiteFaultTests(LabCase):
    """Clients hear of it in time, and all works again soon, without anybody doing anything."""

    def test_server(self) -> None:
        """The agent is killed: errors within ten seconds.  The router reboots or gets another
        address: new connections within twenty.  Credentials installed twice: the newer agent serves,
        the older one says why it stays away, and they do not take turns."""
        lab = self.lab("port", SiteSettings("port", hosts=2))
        scene = Scene(lab)
        agent_killed(scene)
        site_moved(scene, lab.b, "the server's router rebooted", lab.b.reboot)
        site_moved(scene, lab.b, "the server's address changed", lab.b.renumber)
        agent_cloned(scene, _CLONED)

    def test_client(self) -> None:
        """The client's router reboots or gets another address: new connections within twenty."""
        lab = self.lab("port", "port")
        scene = Scene(lab)
        site_moved(scene, lab.a, "the client's router rebooted", lab.a.reboot)
        site_moved(scene, lab.a, "the client's address changed", lab.a.renumber)
