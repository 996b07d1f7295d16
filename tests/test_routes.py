"""Tests for :mod:`wavesync.routes`."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.routes import MAX_TABLE, ROUTES, Route, default_routes, read_table

IPV4 = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "ppp0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n"
    "eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
)
_ANY = "0" * 32
IPV6 = (
    f"{_ANY} 00 {_ANY} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n"
    f"2600{_ANY[4:]} 40 {_ANY} 00 {_ANY} 00000100 00000001 00000000 00000001     eth0\n"
    f"{_ANY} 00 {_ANY} 00 {_ANY} ffffffff 00000001 00000000 00200200       lo\n"
)


class RoutesTests(SynchronousTestCase):
    """The routers of this host are known, of either family."""

    def test_ipv4(self) -> None:
        """The ways to anywhere, not those to one network; some have no router."""
        self.assertEqual(
            default_routes(IPV4), [Route("eth0", "192.168.2.1"), Route("ppp0", "0.0.0.0")]
        )

    def test_ipv6(self) -> None:
        """Likewise."""
        self.assertEqual(default_routes(IPV6), [Route("eth0", "fe80::1"), Route("lo", "::")])

    def test_table(self) -> None:
        """A table is read as far as it may be long; without one there are no routes."""
        path = Path(self.mktemp())
        self.assertEqual(read_table(path), "")
        path.write_text("x" * (MAX_TABLE + 1))
        self.assertEqual(len(read_table(path)), MAX_TABLE)

    def test_real(self) -> None:
        """The table of this very host can be read."""
        if not ROUTES.exists():
            self.assertEqual(read_table(ROUTES), "")
            return
        self.assertIn("Destination", read_table(ROUTES))
        for route in default_routes(read_table(ROUTES)):
            self.assertEqual(route.router.count("."), 3)

    @given(st.text(max_size=80), st.lists(st.text("0123456789abcdef", max_size=33), max_size=12))
    def test_total(self, text: str, fields: list[str]) -> None:
        """Whatever a table holds, it is read."""
        for table in (text, " ".join(fields)):
            default_routes(table)
