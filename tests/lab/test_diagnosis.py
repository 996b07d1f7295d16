"""What counts as wrong in what a whole doctor says, and how it is shown; needs no laboratory."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.doctor.known import known, pair_of
from tests.lab.diagnosis import Diagnosis, Ends, cures, diagnose
from tests.lab.matrix import Cell, all_cells
from tests.lab.truth import SCENES
from tests.lab.whole import as_markdown
from wavesync.doctor.findings import Place, Trial
from wavesync.doctor.verdict import Tried, judge

_RELAY = Place(name="http://relay:3356", host="relay", tcp=Trial(works=True, ms=20.0))


def _told(cell: Cell) -> tuple[Ends, dict[str, Any]]:
    """What the product says where its findings are true, and the best path was taken."""
    if cell.server:
        pair = known(cell.client, 1), known(cell.server, 2)
    else:
        pair = pair_of(next(each for each in SCENES if each.name == cell.client))
    ends = [each.ipv4.mapped if each.ipv4 is not None else "" for each in pair]
    client, server = (replace(each, relays=(_RELAY,), took=3.0) for each in pair)
    best = [path for path in ("lan", "udp", "tcp", "relay") if path in cell.wanted]
    verdict = judge(client, server, [Tried(path=best[0], outcome="ok")])
    report = {"client": client, "server": server, "server_why": "", "verdict": verdict}
    return Ends(*ends), json.loads(msgspec.json.encode(report))


class DiagnosisTests(SynchronousTestCase):
    """Holding what a doctor says against the truth."""

    def complaints(self, client: str, server: str, status: int = 0, **verdict: Any) -> str:
        """Complain of a verdict with changes."""
        cell = Cell.between(client, server, relay=True)
        ends, report = _told(cell)
        report["verdict"].update(verdict)
        return "\n".join(diagnose(cell, ends, status, report).complaints)

    def test_product(self) -> None:
        """Where findings are true, so is all that the product says of them, in every cell."""
        for cell in all_cells(relay=True):
            ends, report = _told(cell)
            found = diagnose(cell, ends, 0, report)
            self.assertEqual(found.complaints, (), cell.name)

    def test_cures(self) -> None:
        """What helps follows from the table: only what makes a direct path possible by itself."""
        self.assertEqual(cures("port", "linux"), frozenset())
        self.assertEqual(cures("port", "symmetric"), {("server", "port"), ("server", "router")})
        self.assertEqual(cures("symmetric", "symmetric"), {("server", "port")})
        self.assertEqual(cures("symmetric", "no-udp"), {("client", "router"), ("server", "port")})

    def test_wrong(self) -> None:
        """Each thing that may be wrong is told, and of whom."""
        _, report = _told(Cell.between("port", "symmetric", relay=True))
        verdict = report["verdict"]
        paths, advice = verdict["paths"], verdict["advice"]

        def changed(path: str, **changes: str) -> list[dict[str, str]]:
            return [each | (changes if each["path"] == path else {}) for each in paths]

        blamed = "the client's router (44.1.0.2) gives a new port for every destination"
        for changes, words in (
            ({"fine": False}, "the exit status"),
            ({"paths": changed("udp", possible="yes")}, "true is error"),
            ({"paths": changed("tcp", possible="yes")}, "TCP connections to the server"),
            ({"paths": changed("relay", possible="no")}, "the relay should be"),
            ({"paths": changed("udp", why="")}, "no reason why not udp"),
            ({"paths": changed("udp", why=blamed)}, "the client is not to blame"),
            ({"taken": "udp"}, "udp instead of relay"),
            ({"taken": None}, "error instead of relay"),
            ({"why_not_better": ""}, "no reason why the relay was taken"),
            ({"advice": []}, "the advice is []"),
            ({"advice": [*advice, {"side": "client", "text": "", "gains": "udp"}]}, "('client'"),
            (
                {"advice": [each | {"text": "the server's router (44.1.0.2)"} for each in advice]},
                "the server's router is 44.2.0.2",
            ),
        ):
            self.assertIn(words, self.complaints("port", "symmetric", **changes), str(changes))
        self.assertIn("the exit status is 1", self.complaints("port", "port", 1))
        self.assertIn("the advice is", self.complaints("port", "port", advice=advice))

    def test_not_examined(self) -> None:
        """Both ends have to be examined, and in time."""
        cell = Cell.between("port", "port", relay=True)
        ends, report = _told(cell)
        for server, words in (
            (None, "the server was not examined"),
            (report["server"] | {"source": "summary"}, "the server was not examined"),
            (report["server"] | {"took": 5.1}, "took 5.1 s"),
        ):
            found = diagnose(cell, ends, 0, report | {"server": server})
            self.assertEqual(len(found.complaints), 1, found.complaints)
            self.assertIn(words, found.complaints[0])

    def test_scene(self) -> None:
        """In a scene, advice is missed by side and word, and too much of it is."""
        cell = next(
            each for each in all_cells(relay=True) if each.client == "one CGNAT, no hairpin"
        )
        ends, report = _told(cell)
        advice = report["verdict"]["advice"]
        for changed, words in (([], "change its hairpinning"), (advice * 2, "more is advised")):
            report["verdict"]["advice"] = changed
            self.assertIn(words, "".join(diagnose(cell, ends, 0, report).complaints))

    def test_table(self) -> None:
        """The table holds paths and ends, and names what is wrong."""
        cells = {
            pair: Cell.between(*pair, relay=True)
            for pair in (("port", "symmetric"), ("port", "port"))
        }
        found = [
            Diagnosis(cells["port", "symmetric"], "relay", ("server", "client")),
            Diagnosis(cells["port", "port"], "relay", (), ("relay instead of udp",), visits=3),
        ]
        text = as_markdown(found, delay=0.02)
        self.assertIn("| port | relay **!** | relay, server + client |", text)
        self.assertIn("* port to port:\n  relay instead of udp", text)
        self.assertIn("the doctor is wrong in 1 of them", text)
        self.assertIn("1 cells were visited again", text)
