"""Where no direct path works: films and files through a relay, and relays that break.

The whole minute of film: ``python -m tests.lab.relayed``.
"""

from __future__ import annotations

from functools import partial

from tests.lab.case import LabCase
from tests.lab.relay_faults import relay_faults
from tests.lab.relayed import relayed_work
from tests.lab.scene import side_by_side
from tests.lab.topology import SiteSettings

_DELAY = 0.01
_FILM, _SIZE = 6, 5_000_000


class RelayedProductTests(LabCase):
    """What a user notices of relays: that it works."""

    def test_work_and_faults(self) -> None:
        """A film beside 20 downloads, files each way; a relay, a router and the mediator fail.

        Both at one time, each in a laboratory of its own.
        """
        work = self.lab("symmetric", "no-udp", delay=_DELAY)
        faults = self.lab("symmetric", "port", delay=_DELAY)
        other = faults.add_site(SiteSettings("linux", delay=_DELAY))
        side_by_side(
            partial(relayed_work, work, _FILM, _SIZE, paced=False),
            partial(relay_faults, faults, other),
        )
