"""Through real proxies, where nothing else leads out.

All kinds of proxy: ``python -m tests.lab.proxies``.
"""

from __future__ import annotations

import json
from functools import partial

from tests.lab.case import LabCase
from tests.lab.diagnosis import LIMIT
from tests.lab.office import Office, office
from tests.lab.postures import POSTURES
from tests.lab.proxied import ProxiedProduct
from tests.lab.proxies import DELAY, postured, traced
from tests.lab.proxy_faults import Ending, Strangers, restarted_below
from tests.lab.scene import side_by_side
from tests.lab.topology import MEDIATOR_NAME, Lab, Site, SiteSettings

_WITH_PASSWORD, _POLLS = POSTURES[1], POSTURES[2]
_ECHOES = 20
_SIZE = 2_500_000
_ECHO_LIMIT = 2 * 4 * DELAY + 0.05 + 0.1  # seconds; the last is for a busy machine


class ProxiesTests(LabCase):
    """What a user behind a proxy notices of it: that it works, or a sentence that says why not."""

    def test_work_and_faults(self) -> None:
        """Squid wants a password at one end, and passes short requests only at the other; files come
        through, though it is killed under one.  What answers in the server's place is named.

        Both at one time, each in a laboratory of its own.
        """
        endings: list[Ending] = []
        side_by_side(
            partial(self._work, self._open_lab(office(DELAY))),
            partial(self._meet, self._open_lab("port"), endings),
        )
        self.assertEqual([each for each in endings if not each.right], [])
        self.assertEqual(len(endings), 2)

    def _open_lab(self, b: SiteSettings | str) -> Lab:
        """Build a laboratory whose files the users of proxies can reach, too."""
        lab = Lab(office(DELAY), b, delay=DELAY)
        self.addCleanup(lab.close)
        return lab

    def _work(self, lab: Lab) -> None:
        client = Office(lab.a, _POLLS.make())
        server = Office(lab.b, _WITH_PASSWORD.make(), _WITH_PASSWORD.secret)
        product = ProxiedProduct(
            lab,
            (client.user, server.user),
            client=client.variables,
            agent=server.variables,
        )
        product.serve()
        for each, posture in ((client, _POLLS), (server, _WITH_PASSWORD)):
            postured(each, posture)
        product.start_agent(udp=False)
        product.parked()
        self.assertTrue(product.upload(_SIZE).way.endswith(", poll"))
        self.assertLess(product.echoes(_ECHOES).median, _ECHO_LIMIT)
        restarted_below(product, client, 2 * _SIZE)
        assert product.agent is not None
        product.agent.kill()
        traced(client, _POLLS)
        traced(server, _WITH_PASSWORD)

    def _meet(self, lab: Lab, endings: list[Ending]) -> None:
        site = lab.add_site(office(DELAY))
        strangers = Strangers(lab)
        strangers.product.start()
        endings += [strangers.intercepting(), strangers.portal(site)]
        self._examine(strangers.product, site)

    def _examine(self, product: ProxiedProduct, site: Site) -> None:
        """The doctor behind that portal names it, though nothing else answers at the mediator's own ports."""
        product.client_host = site.host
        options = "--no-port-mapping", "--mediator", MEDIATOR_NAME
        done = product.wavesync("doctor", "--json", *options)
        report = json.loads(done.stdout)
        self.assertIn("HTTP 302 Found", report["client"]["portal"])
        first = report["verdict"]["remarks"][0]
        self.assertIn("a captive portal answers here", first["text"])
        self.assertEqual((done.status, first["needed"]), (1, True))
        self.assertLess(report["client"]["took"], LIMIT)
