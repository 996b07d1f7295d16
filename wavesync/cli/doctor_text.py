"""What ``wavesync doctor`` shows to people."""

from collections.abc import Iterator
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wavesync.client.report import Timeline
from wavesync.doctor.examine import STEPS
from wavesync.doctor.findings import SUMMARY, Family, Findings, Place, Trial
from wavesync.doctor.pairing import LIKELY, NO, UNKNOWN, YES
from wavesync.doctor.verdict import Verdict

__all__ = ["Progress", "tell"]

_WIDTH = 100
_MARKS = {
    YES: "[green]yes[/]",
    LIKELY: "[green]likely[/]",
    UNKNOWN: "[yellow]unknown[/]",
    NO: "[red]no[/]",
}


class Progress:
    """Shows on a terminal how far the examination is; nothing elsewhere."""

    def __init__(self, output: TextIO) -> None:
        self._left = list(STEPS)
        self._status: Any = None
        console = Console(file=output)
        if console.is_terminal:
            self._status = console.status(self._text())

    def done(self, step: str) -> None:
        """One of the steps is done."""
        if step in self._left:
            self._left.remove(step)
        if self._status is not None:
            self._status.update(self._text())

    def __enter__(self) -> "Progress":
        """Begin to show."""
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show nothing more."""
        if self._status is not None:
            self._status.stop()

    def _text(self) -> str:
        return f"examining: {', '.join(self._left) or 'nearly done'}"


def tell(
    client: Findings,
    server: Findings | None,
    server_why: str,
    timeline: Timeline | None,
    verdict: Verdict,
    output: TextIO,
) -> None:
    """Write everything as text.

    :param server_why: why nothing is known of the server's network.
    """
    console = Console(file=output, width=_WIDTH if not output.isatty() else None, highlight=False)
    _network(console, "This network" if timeline is None else "The client's network", client)
    if timeline is not None:
        if server is not None:
            _network(console, "The server's network", server)
        else:
            console.print(f"[bold]The server's network[/] is not known: {escape(server_why)}\n")
        _pair(console, timeline, verdict)
    for title, needed in (("What does not work", True), ("Worth knowing", False)):
        remarks = [each for each in verdict.remarks if each.needed is needed]
        if remarks:
            console.print(f"[bold]{title}[/]")
            for each in remarks:
                at = f"{each.side}: " if timeline is not None else ""
                console.print(f"  * {escape(at + each.text)}.")
            console.print()
    if verdict.advice:
        console.print("[bold]What to change, what helps most first[/]")
        for number, advice in enumerate(verdict.advice, 1):
            console.print(f"  {number}. {escape(advice.text)} (gives: {escape(advice.gains)}).")
        console.print()
    console.print(
        "[green]All that is needed works.[/]"
        if verdict.fine
        else "[red]Something that is needed does not work.[/]"
    )


def _network(console: Console, title: str, findings: Findings) -> None:
    table = Table(
        title=title, title_justify="left", title_style="bold", show_header=False, box=None
    )
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for name, text in _lines(findings):
        table.add_row(name, escape(text))
    console.print(table)
    console.print()


def _lines(findings: Findings) -> Iterator[tuple[str, str]]:
    if findings.source == SUMMARY:
        yield "source", "a summary that the server has signed for its mediators"
    for name, family in (("IPv4", findings.ipv4), ("IPv6", findings.ipv6)):
        if family is None:
            yield name, "none"
        else:
            yield from _family(name, family)
    for interface in findings.interfaces:
        heard = {True: "multicast passes", False: "multicast does not pass", None: ""}
        parts = (*interface.networks, heard[interface.multicast])
        yield f"interface {interface.name}", ", ".join(filter(None, parts))
    for router in findings.routers:
        speaks = " and ".join(router.speaks) or "no port mapping protocol"
        mapped = f"; maps ports of {router.external}" if router.maps else ""
        why = f"; {router.why}" if router.why else ""
        yield f"router {router.router}", f"speaks {speaks}{mapped}{why}"
    for each in findings.forwarded:
        yield "forwarded", each
    if findings.portal:
        yield "captive portal", findings.portal
    proxy = findings.proxy
    if proxy is not None and not proxy.url:
        yield "proxy", "mediators are reached through an HTTP proxy only"
    elif proxy is not None:
        state = {True: "reached", False: "not reached", None: "not tried"}[proxy.reached]
        yield "proxy", f"{proxy.url}, {state}" + (f"; {proxy.why}" if proxy.why else "")
    for kind, places in (("mediator", findings.mediators), ("relay", findings.relays)):
        for place in places:
            yield f"{kind} {place.name}", _place(kind, place)
    error = findings.clock_error
    if error is not None:
        yield "clock", f"{error:+.1f} s against the mediators' (unsigned)"


def _family(name: str, family: Family) -> Iterator[tuple[str, str]]:
    if family.mapped:
        how = {
            True: f"{family.local} is seen as {family.mapped}",
            False: f"{family.mapped}, public",
        }
        yield name, how.get(bool(family.translated), family.mapped)
    else:
        yield name, f"{family.local or 'none'}; nobody outside has seen it"
    if family.udp is not None:
        big = {True: "", False: ", but not 1200 bytes at once", None: ""}[family.big_udp]
        yield "  UDP", f"passes{big}" if family.udp else "does not pass"
    for label, key, value in (
        ("  mapping", "mapping", family.mapping),
        ("  filtering", "filtering", family.filtering),
    ):
        if value is not None:
            yield label, value.value
        elif key in family.unknown:
            yield label, f"unknown: {family.unknown[key]}"
    if family.hairpinning is not None:
        yield "  hairpinning", "yes" if family.hairpinning else "no"
    if family.port_preserved is not None:
        yield "  ports", "kept outside" if family.port_preserved else "others outside"
    if family.lifetime is not None:
        alive, gone = family.lifetime
        text = f"more than {alive:.0f} s" if gone is None else f"{alive:.0f} to {gone:.0f} s"
        yield "  mappings live", text


def _place(kind: str, place: Place) -> str:
    names = {"mediator": ("UDP", "TCP", "HTTP"), "relay": ("UDP", "direct", "through the proxy")}[
        kind
    ]
    return "; ".join(
        f"{name} {_trial(trial)}"
        for name, trial in zip(names, (place.udp, place.tcp, place.http), strict=True)
        if trial is not None
    )


def _trial(trial: Trial) -> str:
    if trial.works:
        return "works" if trial.ms is None else f"{trial.ms:.0f} ms"
    return f"does not work ({trial.why})" if trial.why else "does not work"


def _pair(console: Console, timeline: Timeline, verdict: Verdict) -> None:
    table = Table(
        title="Paths between the two",
        title_justify="left",
        title_style="bold",
        show_header=False,
        box=None,
    )
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    table.add_column()
    for each in verdict.paths:
        table.add_row(each.path, _MARKS[each.possible], escape(each.why))
    console.print(table)
    if verdict.taken is not None:
        took = timeline.ms.get("accepted")
        in_time = f" in {took:.0f} ms" if took is not None else ""
        console.print(f"taken: [bold]{escape(verdict.taken)}[/]{in_time}")
    else:
        console.print("taken: [red]none[/]")
    if verdict.why_not_better:
        console.print(f"why no better one: {escape(verdict.why_not_better)}.")
    console.print()
