"""Doctors at all sites: every host of the matrix examines its network, and every pair is judged by that.

That takes a minute; `tests.lab.whole` has the whole of it.  Nobody connects: what ``wavesync doctor`` finds out at two sites has to say which paths come about between
them, and `tests.lab.truth` says whether that is so.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.lab.commands import LabError
from tests.lab.diagnosis import as_direct
from tests.lab.hosts import Host
from tests.lab.kinds import KINDS
from tests.lab.nursery import Nursery
from tests.lab.places import Meeting, Places
from tests.lab.processes import Process, poll
from tests.lab.product import MEDIATOR_PORT, Product
from tests.lab.sites import SiteSettings
from tests.lab.topology import MEDIATOR_NAME, Lab
from tests.lab.truth import SCENES, expected
from wavesync.doctor.findings import Findings, decode_findings
from wavesync.doctor.pairing import BOTH_ENDS, TCP, UDP, judge_paths

__all__ = [
    "Consultation",
    "Opinion",
    "consult",
    "consult_two",
    "direct_paths",
    "pair_complaints",
]

_ENDED = 60.0
_AT_A_TIME = 8
_DELAY = 0.02


def direct_paths(client: Findings, server: Findings) -> frozenset[str]:
    """Tell which direct paths doctors count on, in the words of the truth; ``error`` alone where none."""
    return as_direct({each.path for each in judge_paths(client, server) if each.good})


@dataclass(frozen=True, slots=True)
class Opinion:
    """
    What was judged of one pair.

    :ivar name: for people.
    :ivar wanted: what is true: ``udp``, ``tcp`` or both, or ``error`` alone.
    :ivar found: what was judged.
    :ivar exactly: whether all that is true has to be judged so, and nothing else: on special networks more
        may be possible than what is taken.
    """

    name: str
    wanted: frozenset[str]
    found: frozenset[str]
    exactly: bool

    @property
    def right(self) -> bool:
        """Whether the verdict agrees with the truth."""
        if self.exactly or "error" in self.wanted | self.found:
            return self.found == self.wanted
        return self.wanted <= self.found

    def __str__(self) -> str:
        found, wanted = ("+".join(sorted(each)) for each in (self.found, self.wanted))
        return f"{self.name}: {found}" + ("" if self.right else f", but true is {wanted}")


class Consultation:
    """
    A laboratory with a doctor at every host; also a context manager.

    :ivar findings: what was found at each host.
    """

    def __init__(self, meetings: Iterable[Meeting], *, delay: float = 0.0) -> None:
        """
        Build it, and have all hosts examined.

        :param meetings: what will be judged.
        :param delay: one way between each site and the core, in seconds, where settings name none.
        :raises LabError: when it could not be built, or an examination failed.
        """
        self.lab = Lab(SiteSettings("none", ipv6=True), "none")
        self.findings: dict[Host, Findings] = {}
        self._nursery = Nursery()
        try:
            places = Places(self.lab, delay)
            self._pairs = {meeting: places.hosts(meeting) for meeting in meetings}
            self._start_mediator()
            self._examine(dict.fromkeys(host for pair in self._pairs.values() for host in pair))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the laboratory."""
        self._nursery.close()
        self.lab.close()

    def judge(
        self, meeting: Meeting, name: str, wanted: frozenset[str], *, exactly: bool = True
    ) -> Opinion:
        """Judge a pair by what was found at both hosts."""
        client, server = self._pairs[meeting]
        found = direct_paths(self.findings[client], self.findings[server])
        return Opinion(name, wanted, found, exactly)

    @property
    def slowest(self) -> float:
        """Seconds of the longest examination."""
        return max(each.took for each in self.findings.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start_mediator(self) -> None:
        first, second, *six = self.lab.mediator.addresses
        listen = [f"{first}:{MEDIATOR_PORT}", *(f"[{each}]:{MEDIATOR_PORT}" for each in six)]
        settings = self.lab.directory / "mediator.toml"
        settings.write_text(
            f'name = "{MEDIATOR_NAME}"\nlisten = {json.dumps(listen)}\n'
            f'alternate = ["{second}:{MEDIATOR_PORT + 1}"]\n'
        )
        argv = ["twist", "--log-format", "text", "wavesync-mediator", "--config", str(settings)]
        mediator = self._nursery.hatch(
            self.lab.mediator.namespace, "mediator", argv, self.lab.directory / "mediator.log"
        )
        mediator.wait_for_line("is ready on", timeout=_ENDED)

    def _examine(self, hosts: Iterable[Host]) -> None:
        waiting = list(hosts)
        running: dict[Host, Process] = {}
        while waiting or running:
            while waiting and len(running) < _AT_A_TIME:
                host = waiting.pop(0)
                log = self.lab.directory / f"doctor-{host.name}.log"
                argv = ["wavesync", "doctor", "--json", "--mediator", MEDIATOR_NAME]
                running[host] = self._nursery.hatch(host.namespace, "doctor", argv, log)
            poll(
                lambda: any(not each.running for each in running.values()),
                _ENDED,
                lambda: "an examination does not end",
            )
            for host in [host for host, each in running.items() if not each.running]:
                self.findings[host] = _read(running.pop(host).output())


def _read(output: str) -> Findings:
    try:
        return decode_findings(json.dumps(json.loads(output)["client"]).encode())
    except (ValueError, KeyError) as error:
        raise LabError(f"a doctor says: {output} ({error})") from error


def consult(only: Iterable[str] = (), *, delay: float = 0.0) -> tuple[list[Opinion], float]:
    """
    Judge the pairs of the matrix, and its scenes.

    :param only: with these kinds, only the pairs within them, and no scene.
    :param delay: as for `Consultation`.
    :return: what was judged, and seconds of the longest examination.
    """
    kinds = [kind for kind in KINDS if not only or kind in only]
    pairs = list(itertools.product(kinds, repeat=2))
    scenes = () if only else SCENES
    between = {pair: Meeting(SiteSettings(pair[0]), SiteSettings(pair[1])) for pair in pairs}
    at = {scene: Meeting(scene.a, scene.b, scene.isp) for scene in scenes}
    with Consultation([*between.values(), *at.values()], delay=delay) as consultation:
        opinions = [
            consultation.judge(meeting, " to ".join(pair), expected(*pair))
            for pair, meeting in between.items()
        ]
        opinions += [
            consultation.judge(meeting, scene.name, scene.expected, exactly=False)
            for scene, meeting in at.items()
        ]
        return opinions, consultation.slowest


def consult_two(client: str, server: str, *, relay: bool) -> dict[str, Any]:
    """
    Have ``wavesync doctor TARGET`` judge a real pair, once the agent has examined its network.

    :param client: the kind of the client's site.
    :param server: the kind of the server's site.
    :param relay: whether there is one.
    :return: what it writes as JSON, with its exit status as ``status``.
    """
    report: dict[str, Any] = {}
    with Lab(SiteSettings(client, delay=_DELAY), SiteSettings(server, delay=_DELAY)) as lab:
        product = Product(lab, alternate=True, relays=int(relay))
        product.start()

        def known() -> bool:
            done = product.wavesync("doctor", "--json", str(product.server.target))
            report.update(json.loads(done.stdout), status=done.status)
            return "mapping" in ((report["server"] or {}).get("ipv4") or {})

        poll(known, _ENDED, lambda: f"the doctor says {report}")
    return report


def pair_complaints() -> Iterator[str]:
    """Judge a pair without a direct path, with a relay and without one, and say what is wrong with that."""
    for relay, source, status, taken in (
        (True, "examined", 0, "relay"),
        (False, "summary", 1, None),
    ):
        report = consult_two("port", "symmetric", relay=relay)
        verdict = report["verdict"]
        found = (report["server"].get("source", "examined"), report["status"], verdict["taken"])
        if found != (source, status, taken):
            yield f"port to symmetric: {found} instead of {(source, status, taken)}"
        paths = {each["path"]: each["possible"] for each in verdict["paths"]}
        if (paths[UDP], paths[BOTH_ENDS]) != ("no", "no"):
            yield f"port to symmetric: {paths}"
        first = verdict["advice"][0] if verdict["advice"] else {}
        if (first.get("side"), first.get("gains")) != ("server", TCP):
            yield f"port to symmetric: the advice is {verdict['advice']}"
        elif "(44.2.0.2)" not in first["text"]:
            yield f"port to symmetric: {first['text']} names no router"
