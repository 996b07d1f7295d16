"""The whole ``wavesync doctor TARGET`` in every cell of the matrix, with agents and a relay."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from tests.lab.commands import LabError
from tests.lab.diagnosis import Diagnosis, Ends, diagnose
from tests.lab.kinds import KINDS
from tests.lab.matrix import Cell
from tests.lab.sites import SiteSettings
from tests.lab.truth import SCENES
from tests.lab.wide import Wide

__all__ = ["VISITS", "Diagnosis", "as_markdown", "diagnose_all"]

VISITS = 3
"""How often a cell is visited until something is wrong."""


def diagnose_all(
    cells: Sequence[Cell], *, delay: float = 0.0, jobs: int = 3
) -> Iterator[Diagnosis]:
    """
    Run a doctor in each cell, in one laboratory.

    A cell where something is wrong is visited again, in its turn: an overloaded machine drops
    connections, and has relays win that would not.

    :param cells: with a relay.
    :param delay: one way between each site, or the ISP that sites share, and the core, in seconds.
    :param jobs: clients that run one at one time.
    :return: what was said of each cell in the end, as it is.
    :raises LabError: the laboratory could not be built.
    """
    waiting: dict[SiteSettings, deque[tuple[Cell, int]]] = defaultdict(deque)
    for cell in cells:
        waiting[cell.meeting.client].append((cell, 1))
    with Wide([cell.meeting for cell in cells], delay=delay, relay=True, doctors=True) as wide:
        pool = ThreadPoolExecutor(jobs)
        running: dict[Future[Diagnosis], SiteSettings] = {}
        try:
            while waiting or running:
                # Who has most left to do begins first; two doctors at one host would disturb each other.
                for client in sorted(waiting, key=lambda each: -len(waiting[each])):
                    if client not in running.values() and len(running) < jobs:
                        running[pool.submit(_visit, wide, *waiting[client].popleft())] = client
                        if not waiting[client]:
                            del waiting[client]
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    client, found = running.pop(each), each.result()
                    if found.complaints and found.visits < VISITS:
                        waiting[client].append((found.cell, found.visits + 1))
                    else:
                        yield found
        finally:
            pool.shutdown(cancel_futures=True)


def _visit(wide: Wide, cell: Cell, visits: int) -> Diagnosis:
    try:
        status, report = wide.doctor(cell.meeting)
        found = diagnose(cell, Ends.of(wide.sites(cell.meeting)), status, report)
    except LabError as error:
        found = Diagnosis(cell, "broken", complaints=(str(error),))
    return replace(found, visits=visits)


def as_markdown(found: Sequence[Diagnosis], *, delay: float) -> str:
    """Write the table, and what deviates."""
    return "\n".join(_document(found, delay))


def _document(found: Sequence[Diagnosis], delay: float) -> Iterator[str]:
    by_pair = {(each.cell.client, each.cell.server): each for each in found}
    kinds = [kind for kind in KINDS if any(kind in pair for pair in by_pair)]
    wrong = [each for each in found if each.complaints]
    yield "# What the doctor says of whom"
    yield ""
    yield "Written by `python -m tests.lab --doctor --whole`: in each cell an agent runs at the server's site,"
    yield "and `wavesync doctor TARGET --json` at the client's, with a relay in the core and"
    yield f"{delay * 1000:g} ms one way between a site and the core.  Both ends are examined.  Held against"
    yield "`tests/lab/truth.py` are the paths that are called possible, the path that was taken, the reasons why"
    yield "no better one, and the advice.  Rows are clients, columns are servers.  A cell holds the path that was"
    yield "taken and, where there is no direct one, at which end something can be changed; *relay* alone was taken"
    yield "before a direct path was ready, to which later connections go.  **!** marks what is wrong;"
    yield "`python -m tests.lab --list` explains the kinds of site."
    yield ""
    yield f"{len(found)} cells; the doctor is wrong in {len(wrong)} of them."
    again = [each for each in found if each.visits > 1]
    if again:
        yield f"{len(again)} cells were visited again, {VISITS} times at most: on a busy machine the relay may win,"
        yield "and connections may fail."
    yield ""
    yield f"| client \\ server | {' | '.join(kinds)} |"
    yield "|---" * (len(kinds) + 1) + "|"
    for client in kinds:
        row = (by_pair.get((client, server)) for server in kinds)
        yield f"| {client} | {' | '.join(each.as_text() if each else '' for each in row)} |"
    yield ""
    scenes = [scene for scene in SCENES if (scene.name, "") in by_pair]
    if scenes:
        yield "| Further scenes | |"
        yield "|---|---|"
        for scene in scenes:
            yield f"| {scene.name} | {by_pair[scene.name, ''].as_text()} |"
        yield ""
    yield "## Deviations"
    yield ""
    if not wrong:
        yield "None."
    for each in wrong:
        yield f"* {each.cell.name}:"
        for complaint in each.complaints:
            yield f"  {complaint}"
    yield ""
