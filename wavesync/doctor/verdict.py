"""What a person is told: what does not work, which paths a pair has, what to change and where.

Pure functions of findings of both ends and of the timelines of connects.  Advice comes from trying
changes: each one that could be made is applied to the findings, and the paths are judged again.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from wavesync.doctor.advice import changes
from wavesync.doctor.findings import SUMMARY, Findings
from wavesync.doctor.pairing import (
    BOTH_ENDS,
    LAN,
    LIKELY,
    PATHS,
    RELAY,
    TCP,
    UDP,
    UNKNOWN,
    YES,
    Possibility,
    judge_paths,
)
from wavesync.doctor.remarks import Remark, remarks_on

__all__ = ["Advice", "Tried", "Verdict", "judge", "judge_network"]

Side: TypeAlias = Literal["client", "server"]

_KINDS = {"lan": (LAN,), "tcp": (TCP, BOTH_ENDS), "udp": (UDP,), "relay": (RELAY,)}
"""What reports call each path."""

_MAX_WHYS = 3
_DIRECT = (LAN, TCP, BOTH_ENDS, UDP)


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of the report of a connect (``--report``).

    :ivar path: ``lan``, ``tcp``, ``udp``, ``relay``; None without a path.
    :ivar outcome: ``ok``, or a sentence.
    """

    path: str | None = None
    outcome: str = ""
    ms: dict[str, float | None] = {}
    candidates: tuple[dict[str, object], ...] = ()


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to change.

    :ivar side: where: ``client`` or ``server``.
    :ivar text: what, a sentence.
    :ivar gains: the path that it would make possible.
    """

    side: Side
    text: str
    gains: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it.

    :ivar fine: whether everything works that is needed.
    :ivar remarks: what is wrong, or worth knowing, at either end.
    :ivar paths: what is possible between the two, the best first; empty without a server.
    :ivar taken: the path that a connect has just taken; None without one.
    :ivar why_not_better: why it was no better one, a sentence; empty where there is none.
    :ivar advice: what to change, what helps most first.
    """

    fine: bool
    remarks: tuple[Remark, ...] = ()
    paths: tuple[Possibility, ...] = ()
    taken: str | None = None
    why_not_better: str = ""
    advice: tuple[Advice, ...] = ()


def judge_network(findings: Findings) -> Verdict:
    """Judge one end by itself."""
    remarks = tuple(remarks_on(findings, "client"))
    return Verdict(fine=not any(each.needed for each in remarks), remarks=remarks)


def judge(client: Findings, server: Findings | None, tried: Sequence[Tried] = ()) -> Verdict:
    """Judge a pair.

    :param server: what is known of the server's network; None where nothing is.
    :param tried: the connects that were made, the last one last.
    """
    remarks = list(remarks_on(client, "client"))
    if server is not None and server.source != SUMMARY:
        remarks += remarks_on(server, "server")
    elif server is not None:
        # Nobody has tried anything there.
        remarks += [each for each in remarks_on(server, "server") if not each.needed]
    last = tried[-1] if tried else None
    taken = last.path if last is not None and last.outcome == "ok" else None
    paths: list[Possibility] = []
    if server is not None:
        paths = [_proven(_doubted(each, last), taken) for each in judge_paths(client, server)]
    failed = last is not None and taken is None
    if server is None:
        text = "nothing is known of the server's network, so that paths cannot be judged"
        remarks.append(Remark(side="server", text=text))
    elif any(each.possible == UNKNOWN for each in paths) and _single(client) and _single(server):
        text = (
            "no mediator that is reached over UDP has a second address (its setting alternate): nobody can"
            " tell how the routers choose their ports, and from whom they take packets"
        )
        remarks.append(Remark(side="client", text=text))
    return Verdict(
        fine=not failed and not any(each.needed for each in remarks if each.side == "client"),
        remarks=tuple(remarks),
        paths=tuple(paths),
        taken=taken,
        why_not_better=_why_not_better(paths, taken, last),
        advice=tuple(_advice(client, server, paths)) if server is not None else (),
    )


def _proven(each: Possibility, taken: str | None) -> Possibility:
    """What has just worked is possible, whatever was thought."""
    if taken is None or each.path not in _KINDS.get(taken, ()) or each.good:
        return each
    if each.path == TCP and taken == "tcp":
        return each  # TCP from both ends is what worked, as far as anybody can tell
    return replace(each, possible=YES, why="a connection has just been made so")


def _single(findings: Findings) -> bool:
    """Whether UDP passes, and no mediator could show what the router does to it."""
    family = findings.ipv4
    return (
        family is not None
        and bool(family.udp and family.translated)
        and (family.mapping is None or family.filtering is None)
    )


def _doubted(each: Possibility, last: Tried | None) -> Possibility:
    """What was only likely, and came to nothing, is not known."""
    if each.possible not in (LIKELY, UNKNOWN) or last is None or each.path == RELAY:
        return each
    failures = list(_failures(last, {each.path}, near=False))
    if not failures:
        return each
    why = f"it was tried, and came to nothing; {each.why}"
    return replace(each, possible=UNKNOWN, why=why)


def _why_not_better(paths: Sequence[Possibility], taken: str | None, last: Tried | None) -> str:
    if last is None:
        return ""
    if taken is None:
        whys = "; ".join(f"{_called(each.path)}: {each.why}" for each in paths if not each.good)
        return f"{last.outcome.rstrip('.')} ({whys})" if whys else last.outcome.rstrip(".")
    if taken != "relay":
        return ""
    possible = [each for each in paths if each.path in _DIRECT and each.good]
    if not possible:
        both = [each.why for each in paths if each.path in (BOTH_ENDS, UDP)]
        # What one of them says and the other one says as well need not be said twice.
        return "; ".join(
            dict.fromkeys(next(a for a in both[::-1] if a.startswith(b)) for b in both)
        )
    names = " and ".join(_called(each.path) for each in possible)
    near = any(each.path == LAN for each in possible)
    failures = list(_failures(last, {each.path for each in possible}, near=near))
    seen = f": {'; '.join(failures[:_MAX_WHYS])}" if failures else ""
    return f"{names} should have worked, or was not ready yet when the relay was{seen}"


def _failures(tried: Tried, paths: set[str], *, near: bool) -> Iterator[str]:
    """Say what came to nothing.

    :param near: count private addresses, too.
    """
    for entry in tried.candidates:
        kind, why = str(entry.get("kind")), str(entry.get("why") or "")
        failed = why and entry.get("result") == "failed" and paths & set(_KINDS.get(kind, ()))
        address = str(entry.get("address"))
        if failed and (near or _is_public(address)):
            yield f"{kind} {address}: {why.rstrip('.')}"


def _is_public(address: str) -> bool:
    try:
        return ip_address(address.rpartition(":")[0].strip("[]")).is_global
    except ValueError:
        return False


def _called(path: str) -> str:
    return {LAN: "the local network", RELAY: "a relay"}.get(
        path, path.replace("tcp", "TCP").replace("udp", "UDP")
    )


def _advice(client: Findings, server: Findings, paths: Sequence[Possibility]) -> Iterator[Advice]:
    """Try each change; what makes the best path possible comes first."""
    if any(each.good for each in paths if each.path in _DIRECT):
        return  # direct already
    relayed = any(each.good for each in paths if each.path == RELAY)
    before = judge_paths(client, server)
    found: list[tuple[int, int, Advice]] = []
    for change in changes(client, server):
        after = judge_paths(*change.apply(client, server))
        gains = next(
            (
                new.path
                for old, said, new in zip(before, paths, after, strict=True)
                if new.good and new.possible != old.possible and not said.good
            ),
            None,
        )
        if gains is None or (gains == RELAY and relayed):
            continue
        advice = Advice(side=change.side, text=change.text, gains=gains)
        found.append((gains == RELAY, change.effort, advice))
    found.sort(key=lambda each: each[:2])
    for _, _, advice in found:
        yield advice


assert set(PATHS) == {path for each in _KINDS.values() for path in each}
