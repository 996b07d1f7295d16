"""Sites that let nobody out but an HTTP proxy of their own: other TCP and all UDP is dropped."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.lab.commands import LabError, environment
from tests.lab.hosts import Host
from tests.lab.processes import Process, poll
from tests.lab.topology import Site, SiteSettings
from tests.tunnel.proxy_processes import ProxyProcess

__all__ = ["PROXY_PORT", "Buffering", "Office", "Rude", "fence", "office"]

PROXY_PORT = 3128
"""Where the proxy listens."""

_ROOT = Path(__file__).parents[2]
_FENCE = """
table inet fence {{
    chain forward {{
        type filter hook forward priority -20; policy accept;
        iifname "lan" {excepted} counter drop
    }}
    chain local {{
        type filter hook input priority -20; policy accept;
        iifname "lan" meta l4proto {{ tcp, udp }} counter drop
    }}
}}
"""


def office(delay: float = 0.0) -> SiteSettings:
    """Give the settings of a site that can be an office: a host for a user, and one for the proxy."""
    return SiteSettings("port", delay=delay, hosts=2)


def fence(site: Site, *excepted: Host) -> None:
    """Let nothing from a site out, as far as it does not come from these hosts."""
    addresses = ", ".join(host.address for host in excepted)
    rule = f"ip saddr != {{ {addresses} }}" if addresses else ""
    site.router.nft(_FENCE.format(excepted=rule))


class Buffering(ProxyProcess):
    """Holds every body until it is whole."""

    program = sys.executable

    def settings(self) -> str:
        """It has none."""
        return ""

    def arguments(self, settings: Path) -> Sequence[str]:
        """Tell how it is started."""
        log = str(self.directory / "log")
        return ["-m", "tests.lab.buffering_proxy", self.address, str(self.port), log]


class Rude(ProxyProcess):
    """Answers in the server's place, or cuts.

    :param what: how it is rude, and further arguments (:mod:`tests.lab.rude_proxy`).
    """

    program = sys.executable

    def __init__(self, what: str, *arguments: str) -> None:
        super().__init__()
        self._what = what
        self._more = arguments

    def settings(self) -> str:
        """It has none."""
        return ""

    def arguments(self, settings: Path) -> Sequence[str]:
        """Tell how it is started."""
        log = str(self.directory / "log")
        place = [self.address, str(self.port), log]
        return ["-m", "tests.lab.rude_proxy", self._what, *place, *self._more]


class Office:
    """A fenced site and its proxy.

    :param site: its second host is the proxy.
    :param proxy: what it runs.
    :param secret: user and password for it, or "".
    :param port: where it listens.
    :param fenced: whether only the proxy gets out.
    :ivar user: its first host.
    :ivar running: the proxy's process.
    """

    def __init__(
        self,
        site: Site,
        proxy: ProxyProcess,
        secret: str = "",
        *,
        port: int = PROXY_PORT,
        fenced: bool = True,
    ) -> None:
        self.site = site
        self.user, self._host = site.hosts[:2]
        self._proxy = proxy
        self._secret = secret
        proxy.address, proxy.port = self._host.address, port
        proxy.directory = self._host.directory("proxy")
        proxy.directory.chmod(0o777)  # a proxy that is started by root becomes somebody else
        proxy.directory.parent.chmod(0o755)
        if fenced:
            fence(site, self._host)
        self.running: Process
        self.start()

    @property
    def variables(self) -> Mapping[str, str]:
        """What tells the user's programs of it."""
        secret = f"{self._secret}@" if self._secret else ""
        url = f"http://{secret}{self._proxy.address}:{self._proxy.port}"
        return {"http_proxy": url, "https_proxy": url}

    @property
    def log(self) -> str:
        """What the proxy says of the requests that came."""
        return self._proxy.log

    def start(self) -> None:
        """Start the proxy, and wait until it listens."""
        settings = self._proxy.directory / "settings"
        settings.write_text(self._proxy.settings())
        program = shutil.which(self._proxy.program, path=environment()["PATH"])
        if program is None:
            raise LabError(f"{self._proxy.program} is not installed")
        command = [program, *self._proxy.arguments(settings)]
        self.running = self._host.start(command, name="proxy", env={"PYTHONPATH": str(_ROOT)})
        self.running.wait_for_port(self._proxy.port)

    def kill(self) -> None:
        """Kill the proxy."""
        self.running.kill()

    def _has(self, words: str) -> bool:
        return words in self.log

    def _tail(self, words: str) -> str:
        return f"{words}: {self.log[-2000:]}"

    def logged(self, *words: str) -> None:
        """Wait until the proxy has written down all of this.

        :raises LabError: when it does not.
        """
        for each in words:
            poll(partial(self._has, each), 10, partial(self._tail, each))
