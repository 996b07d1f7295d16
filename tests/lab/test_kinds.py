"""Each kind of site behaves as it claims, by the word of an independent RFC 5780 client."""

from __future__ import annotations

import contextlib
import functools
import sys
from itertools import zip_longest

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.case import LabCase
from tests.lab.commands import LabError
from tests.lab.discovery import (
    Behaviour,
    Discovery,
    differences,
    parse,
    start_stun_server,
)
from tests.lab.kinds import KINDS, Kind, kind_named
from tests.lab.namespaces import Namespace
from tests.lab.topology import Lab

_UNASKED_PORT = 4000
_BROKEN = "broken"


@functools.cache
def _all_seen() -> dict[str, tuple[Behaviour, str, str]]:
    """
    Discover every kind at once, because each waits seconds for answers that do not come.

    :return: by kind, what was seen, the router's address and the host's; and the same for
        `_BROKEN`, a full cone whose router has lost the rule that lets strangers in.
    """
    kinds = {**KINDS, _BROKEN: KINDS["full"]}
    listed = list(kinds.values())
    pairs = zip_longest(listed[::2], listed[1::2], fillvalue=KINDS["none"])
    with contextlib.ExitStack() as stack:
        labs = [stack.enter_context(Lab(*pair)) for pair in pairs]
        # A last site without a partner got one that is not looked at.
        sites = dict(zip(kinds, (site for lab in labs for site in lab.sites), strict=False))
        sites[_BROKEN].router.nft("flush chain ip nat incoming")
        for lab in labs:
            start_stun_server(lab)
        running = {
            name: Discovery(site.host, labs[0].mediator.address) for name, site in sites.items()
        }
        return {
            name: (discovery.result(), sites[name].wan, sites[name].host.address)
            for name, discovery in running.items()
        }


def _axes(kind: Kind) -> tuple[object, ...]:
    """Give what an RFC 5780 client can tell of a kind."""
    return (kind.outermost.mapping, kind.outermost.filtering) if kind.udp else ()


class KindTests(LabCase):
    """The kinds against coturn."""

    def _check(self, name: str) -> None:
        seen, wan, inside = _all_seen()[name]
        self.assertEqual(differences(seen, KINDS[name], wan, inside), [])

    def test_none(self) -> None:
        """Hosts have public addresses, and anybody reaches them."""
        self._check("none")

    def test_firewall(self) -> None:
        """Hosts have public addresses, and only those they sent to reach them."""
        self._check("firewall")

    def test_full(self) -> None:
        """One random port for all remotes, open to anybody."""
        self._check("full")

    def test_restricted(self) -> None:
        """One random port for all remotes, open to addresses that were sent to."""
        self._check("restricted")

    def test_port(self) -> None:
        """One random port for all remotes, open to addresses and ports that were sent to."""
        self._check("port")

    def test_linux(self) -> None:
        """The inside port is kept; open to addresses and ports that were sent to."""
        self._check("linux")

    def test_linux_reject(self) -> None:
        """As linux: refusing instead of dropping changes nothing that RFC 5780 sees."""
        self._check("linux-reject")

    def test_linux_accept(self) -> None:
        """As linux: taking strangers' packets in changes nothing that RFC 5780 sees."""
        self._check("linux-accept")

    def test_symmetric_address(self) -> None:
        """A random port for each remote address."""
        self._check("symmetric-address")

    def test_symmetric_sequential(self) -> None:
        """The next port for each flow."""
        self._check("symmetric-sequential")

    def test_symmetric(self) -> None:
        """A random port for each flow."""
        self._check("symmetric")

    def test_symmetric_open(self) -> None:
        """A random port for each flow, each open to anybody."""
        self._check("symmetric-open")

    def test_no_udp(self) -> None:
        """No answer comes by UDP."""
        self._check("no-udp")

    def test_cgnat(self) -> None:
        """Two NATs in a row, both of which keep one port for all remotes."""
        self._check("cgnat")

    def test_cgnat_symmetric(self) -> None:
        """Two NATs in a row, of which the ISP's takes a random port for each flow."""
        self._check("cgnat-symmetric")

    def test_every_kind_is_checked(self) -> None:
        """A kind added later cannot stay without a test of its own."""
        for name in KINDS:
            self.assertTrue(hasattr(self, f"test_{name.replace('-', '_')}"), name)


class LyingKindTests(LabCase):
    """The check finds a site out that is not what it is said to be."""

    def test_no_kind_passes_for_another(self) -> None:
        """What was seen of one kind never satisfies the claims of a different one."""
        for name in KINDS:
            seen, wan, inside = _all_seen()[name]
            for claimed in KINDS.values():
                if _axes(claimed) == _axes(KINDS[name]):
                    continue
                self.assertNotEqual(
                    differences(seen, claimed, wan, inside), [], f"{name} passes for {claimed.name}"
                )

    def test_broken_rules(self) -> None:
        """A full cone whose router lost the rule that lets strangers in no longer passes."""
        seen, wan, inside = _all_seen()[_BROKEN]
        self.assertEqual(
            differences(seen, KINDS["full"], wan, inside),
            ["filtering: full claims Endpoint Independent, seen Address and Port Dependent"],
        )


_ASK_UNASKED = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(0.3)
sock.connect((sys.argv[1], int(sys.argv[2])))
sock.send(b"unasked")
try:
    sock.recv(100)
except ConnectionRefusedError:
    print("refused")
except TimeoutError:
    print("silence")
"""


class UnsolicitedTests(LabCase):
    """What routers do with a datagram from outside that nothing asked for."""

    def _send(self, lab: Lab, wan: str) -> str:
        return lab.mediator.run(
            [sys.executable, "-I", "-S", "-c", _ASK_UNASKED, wan, str(_UNASKED_PORT)]
        ).stdout.strip()

    def _remembers(self, router: Namespace) -> bool:
        """Tell whether the datagram occupies the port in the router's table of flows."""
        return f"dport={_UNASKED_PORT}" in router.run(["conntrack", "-L", "-p", "udp"]).stdout

    def test_drop(self) -> None:
        """The sender hears nothing, and the port stays free for the hosts inside."""
        for lab in (self.lab("linux", "port"), self.lab("full", "symmetric")):
            for site in lab.sites:
                self.assertEqual(self._send(lab, site.wan), "silence", site.kind.name)
                self.assertFalse(self._remembers(site.router), site.kind.name)

    def test_reject(self) -> None:
        """The sender is refused, and the port stays free."""
        lab = self.lab("linux-reject", "none")
        self.assertEqual(self._send(lab, lab.a.wan), "refused")
        self.assertFalse(self._remembers(lab.a.router))

    def test_accept(self) -> None:
        """The router takes the datagram for its own, which occupies the port."""
        lab = self.lab("linux-accept", "none")
        self._send(lab, lab.a.wan)
        self.assertTrue(self._remembers(lab.a.router))


class ParseTests(SynchronousTestCase):
    """Reading coturn's output, and names of kinds; needs no laboratory."""

    def test_nothing(self) -> None:
        """No answer is no verdict."""
        silence = "STUN receive timeout..\n"
        self.assertEqual(parse(silence, silence), Behaviour(None, None, None, ()))

    def test_contradiction(self) -> None:
        """Two verdicts are none: a change of coturn's output cannot pass for a result."""
        twice = "NAT with Endpoint Independent Mapping!\nNAT with Address Dependent Mapping!\n"
        self.assertIsNone(parse(twice, "").mapping)

    def test_unknown_kind(self) -> None:
        """A mistyped kind is answered with the list of kinds."""
        with self.assertRaises(LabError) as caught:
            kind_named("cone")
        self.assertIn("full", str(caught.exception))
