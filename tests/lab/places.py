"""Where client and server of many meetings are, in one laboratory: sites are shared as far as that goes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.lab.hosts import Host
from tests.lab.routers import Router
from tests.lab.sites import Site, SiteSettings
from tests.lab.topology import Lab

__all__ = ["Meeting", "Places"]


@dataclass(frozen=True, slots=True)
class Meeting:
    """
    A client's place and a server's.

    Meetings with the same places share programs, but client and server are never at the same site,
    unless there is no site for the server.

    :ivar client: the client's site.
    :ivar server: the server's site; None for a second host at the client's.
    :ivar isp: the ISP's router that both are behind, if they are.
    """

    client: SiteSettings
    server: SiteSettings | None
    isp: SiteSettings | None = None

    def round_trip(self, delay: float) -> float:
        """
        Tell how long a packet takes from client to server and back, by way of the core.

        :param delay: as for `Wide`.
        :return: seconds.
        """
        if self.isp is not None:
            return 4 * (self.isp.delay or delay)
        sides = (self.client, self.server or self.client)
        return 2 * sum(side.delay or delay for side in sides)


class Places:
    """
    The sites of a laboratory's meetings.

    :param delay: one way between each site, or the ISP they share, and the core, in seconds, where its
        settings name none.
    """

    def __init__(self, lab: Lab, delay: float) -> None:
        self._lab = lab
        self._delay = delay
        self._sites: dict[tuple[object, ...], Site] = {}

    def hosts(self, meeting: Meeting) -> tuple[Host, Host]:
        """Find, or build, the hosts of client and server."""
        isp = None
        # Behind a shared router the places are this meeting's own.
        own: object = None
        if meeting.isp is not None:
            own = meeting
            isp = self._lab.add_isp(self._far(meeting.isp))
        if meeting.server is None:
            client = self._site("both", meeting.client, own, isp)
            return client.hosts[0], client.hosts[1]
        client = self._site("client", meeting.client, own, isp)
        server = self._site("server", meeting.server, own, isp)
        return client.host, server.host

    def site_of(self, host: Host) -> Site:
        """Find the site that a host is at."""
        return next(site for site in self._sites.values() if host in site.hosts)

    def _site(self, role: str, settings: SiteSettings, own: object, isp: Router | None) -> Site:
        key = (role, settings, own)
        if key not in self._sites:
            far = settings if isp is not None else self._far(settings)
            self._sites[key] = self._lab.add_site(far, isp)
        return self._sites[key]

    def _far(self, settings: SiteSettings) -> SiteSettings:
        return settings if settings.delay else replace(settings, delay=self._delay)
