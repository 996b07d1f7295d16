"""What a whole doctor says of a cell, held against the truth; needs no laboratory.

``wavesync doctor TARGET --json`` has to be right about the paths that are possible, has to have taken one
that comes about, to give a reason for each better one, and to send people to the router that has to be changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.lab.kinds import KINDS, Filtering
from tests.lab.matrix import Cell
from tests.lab.sites import Site
from tests.lab.truth import BY_REMOTE, expected
from wavesync.doctor.pairing import BOTH_ENDS, LAN, LIKELY, PATHS, RELAY, TCP, UDP, YES

__all__ = ["LIMIT", "Diagnosis", "Ends", "as_direct", "cures", "diagnose"]

LIMIT = 5.0
"""Seconds that an examination may take."""

_ERROR = frozenset({"error"})
_KINDS = {"lan": {LAN}, "tcp": {TCP, BOTH_ENDS}, "udp": {UDP}, "relay": {RELAY}}

#: What a client and a server that meet in these scenes would have to change: the side, and a word for what.
_SCENE_CURES: dict[str, set[tuple[str, str]]] = {
    "one CGNAT, no hairpin": {("server", "hairpinning")},
    "one CGNAT, hairpin, symmetric home of the client": {
        ("client", "new port"),
        ("server", "port"),
    },
    "one symmetric CGNAT, hairpin": {("server", "port")},
    "IPv6-only client, IPv4 server": {("server", "IPv6"), ("client", "IPv4")},
}

_ROUTER = re.compile(r"the (client|server)'s router \(([^)]+)\)")
_BLAMED = re.compile(r"the (client|server)'s (?:router|network|host|side)")


class Ends(NamedTuple):
    """The public IPv4 address of the client's site, and of the server's."""

    client: str
    server: str

    @classmethod
    def of(cls, sites: tuple[Site, Site]) -> Ends:
        """Find them."""
        return cls(*(site.wan for site in sites))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """
    What was said of one cell.

    :ivar cell: the cell.
    :ivar taken: the path that was taken; ``error`` without one, ``broken`` when the laboratory failed.
    :ivar sides: at which end, or ends, something is to be changed: ``client``, ``server``.
    :ivar complaints: what is wrong with it, in sentences.
    :ivar visits: how often a doctor was asked.
    """

    cell: Cell
    taken: str
    sides: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    visits: int = 1

    def as_text(self) -> str:
        """The path, and the ends."""
        where = " + ".join(self.sides)
        mark = " **!**" if self.complaints else ""
        return f"{self.taken}{f', {where}' if where else ''}{mark}"


def as_direct(good: Collection[str]) -> frozenset[str]:
    """Give direct paths in the words of the truth; ``error`` alone where there are none."""
    found = {name for name, paths in _KINDS.items() if name != "relay" and paths & {*good}}
    return frozenset(found) or _ERROR


def cures(client: str, server: str) -> frozenset[tuple[str, str]]:
    """
    Tell which single changes make a direct path possible between two kinds of site.

    :return: the side, and ``port`` where one that leads to the server helps, ``router`` where one with an
        Endpoint-Independent mapping would that lets UDP pass.
    """
    if expected(client, server) != _ERROR:
        return frozenset()
    found = {("server", "port")} if expected(client, "none") != _ERROR else set()
    if expected("port", server) != _ERROR:
        found.add(("client", "router"))
    if expected(client, "port") != _ERROR:
        found.add(("server", "router"))
    return frozenset(found)


def diagnose(cell: Cell, ends: Ends, status: int, report: Mapping[str, Any]) -> Diagnosis:
    """
    Judge what a doctor has written.

    :param cell: one with a relay.
    :param ends: where both are seen.
    :param status: its exit status.
    """
    verdict = report["verdict"]
    complaints = [
        *_examined(status, report),
        *_paths(cell, verdict),
        *_reasons(cell, ends, verdict),
        *_advice(cell, ends, verdict["advice"]),
    ]
    sides = tuple(dict.fromkeys(each["side"] for each in verdict["advice"]))
    return Diagnosis(cell, verdict["taken"] or "error", sides, tuple(complaints))


def _examined(status: int, report: Mapping[str, Any]) -> Iterator[str]:
    if status or not report["verdict"]["fine"]:
        yield f"the exit status is {status}: {report['verdict']['remarks']}"
    for side in ("client", "server"):
        findings = report[side]
        if findings is None or findings.get("source", "examined") != "examined":
            yield f"the {side} was not examined: {report['server_why']}"
        elif findings["took"] > LIMIT:
            yield f"the examination of the {side} took {findings['took']:.1f} s"


def _paths(cell: Cell, verdict: Mapping[str, Any]) -> Iterator[str]:
    """What is possible, and what was taken."""
    direct = cell.later - {"relay"} or _ERROR
    good = {each["path"] for each in verdict["paths"] if each["possible"] in (YES, LIKELY)}
    found = as_direct(good)
    exactly = cell.server or _ERROR in (direct, found)
    if found != direct if exactly else not direct <= found:
        yield f"{_words(found)} should be possible, but true is {_words(direct)}"
    if cell.server and (TCP in good) is not (KINDS[cell.server].filtering is Filtering.OPEN):
        yield f"it is {TCP in good} that TCP connections to the server are possible"
    if RELAY not in good:
        yield "the relay should be impossible"
    taken = verdict["taken"] or "error"
    if taken not in cell.wanted:
        yield f"{taken} instead of {_words(cell.wanted)}: {verdict['why_not_better']}"
    elif not _KINDS.get(taken, set()) & good:
        yield f"{taken} was taken and is not possible"


def _reasons(cell: Cell, ends: Ends, verdict: Mapping[str, Any]) -> Iterator[str]:
    """Why no better path than the one that was taken."""
    taken = min((PATHS.index(each) for each in _KINDS.get(verdict["taken"], ())), default=None)
    whys = {
        each["path"]: each["why"]
        for each in verdict["paths"]
        if each["possible"] not in (YES, LIKELY)
        and (taken is None or PATHS.index(each["path"]) < taken)
    }
    for path, why in whys.items():
        if not why:
            yield f"there is no reason why not {path}"
        yield from _misnamed(ends, why)
    if verdict["taken"] == "relay" and not verdict["why_not_better"]:
        yield "there is no reason why the relay was taken"
    yield from _misnamed(ends, verdict["why_not_better"])
    if cell.server:
        for path, blamed in _guilty(cell).items():
            named = _BLAMED.search(whys.get(path, ""))
            if named is not None and blamed and named[1] not in blamed:
                yield f"the {named[1]} is not to blame: {whys[path]}"


def _guilty(cell: Cell) -> dict[str, set[str]]:
    """The ends whose router is a reason why not, for each path."""
    kinds = {"client": KINDS[cell.client], "server": KINDS[cell.server]}
    by_remote = {name for name, kind in kinds.items() if kind.outermost.mapping in BY_REMOTE}
    mute = {name for name, kind in kinds.items() if not kind.udp}
    return {BOTH_ENDS: by_remote, UDP: by_remote | mute}


def _advice(cell: Cell, ends: Ends, advice: list[Mapping[str, str]]) -> Iterator[str]:
    """Whether everything that would help is told, and nothing else, and of the right router."""
    for each in advice:
        yield from _misnamed(ends, each["text"])
    if cell.server:
        told = {(each["side"], "port" if each["gains"] == TCP else "router") for each in advice}
        wanted = cures(cell.client, cell.server)
        if told != wanted:
            yield f"the advice is {sorted(told)} instead of {sorted(wanted)}"
        return
    needed = _SCENE_CURES.get(cell.client, set())
    for side, word in needed:
        if not any(each["side"] == side and word in each["text"] for each in advice):
            yield f"no advice has the {side} change its {word}"
    if len(advice) > len(needed):
        yield f"more is advised than helps: {'; '.join(each['text'] for each in advice)}"


def _misnamed(ends: Ends, text: str) -> Iterator[str]:
    """Routers that have another address than is told."""
    for side, address in _ROUTER.findall(text):
        if getattr(ends, side) != address:
            yield f"the {side}'s router is {getattr(ends, side)}: {text}"


def _words(paths: Collection[str]) -> str:
    return " or ".join(sorted(paths))
