"""What the whole doctor says in a handful of cells; ``python -m tests.lab --doctor --whole`` asks in all."""

from __future__ import annotations

from tests.lab.case import LabCase
from tests.lab.matrix import Cell
from tests.lab.truth import SCENES
from tests.lab.whole import diagnose_all

_PAIRS = (
    ("port", "linux"),
    ("port", "symmetric"),
    ("no-udp", "symmetric"),
    ("cgnat", "linux"),
)
_SCENE = "one LAN, no hairpin"


class DoctorTests(LabCase):
    """``wavesync doctor TARGET`` at real routers."""

    def test_handful(self) -> None:
        """A user whose paths are easy, one with a symmetric router at the other end, one without UDP, one
        behind two routers, and one beside the server are told what is true, and sent to the right router."""
        cells = [Cell.between(*pair, relay=True) for pair in _PAIRS]
        cells += [Cell.of(scene, relay=True) for scene in SCENES if scene.name == _SCENE]
        found = list(diagnose_all(cells, delay=0.01, jobs=4))
        self.assertEqual([each for each in found if each.complaints], [])
        advised = {each.cell.name: each.sides for each in found if each.sides}
        self.assertEqual(
            advised, {"port to symmetric": ("server",), "no-udp to symmetric": ("server",)}
        )
