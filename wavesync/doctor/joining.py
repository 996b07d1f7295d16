"""One timeline of what both ends saw of a connect."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from wavesync.doctor.flights import Flight

__all__ = ["CLIENT", "SERVER", "Row", "join"]

CLIENT, SERVER = "client", "server"


class Row(msgspec.Struct, frozen=True):
    """Something that one end saw.

    :ivar ms: milliseconds after the connect began at the client.
    :ivar end: ``client`` or ``server``.
    :ivar what: a few words.
    """

    ms: float
    end: str
    what: str


def join(
    at: float, report: Mapping[str, Any], flights: Iterable[Flight], clock_ahead: float
) -> list[Row]:
    """Put both ends' events in order.

    :param at: when the connect began at the client, seconds since the epoch.
    :param report: the client's timeline, as ``--report`` writes it.
    :param flights: the server's.
    :param clock_ahead: seconds that the server's clock is ahead of the client's.
    """
    rows = [Row(0.0, CLIENT, f"asks for {report.get('target')}"), *_ours(report)]
    for flight in flights:
        began = (flight.at - clock_ahead - at) * 1000
        for event in flight.events:
            what = f"{event.what} {event.why}".strip()
            rows.append(Row(round(began + event.ms, 1), SERVER, what))
    return sorted(rows, key=lambda row: row.ms)


def _ours(report: Mapping[str, Any]) -> Iterable[Row]:
    for stage, ms in report.get("ms", {}).items():
        if ms is not None:
            yield Row(ms, CLIENT, stage.replace("_", " "))
    for each in report.get("candidates", []):
        name = f"{each['kind']} {each['address']}"
        yield Row(each["started"], CLIENT, f"tries {name}")
        if each["ended"] is not None:
            why = f": {each['why']}" if each["why"] else ""
            yield Row(each["ended"], CLIENT, f"{name} {each['result']}{why}")
