"""The product between all kinds of sites, in both roles, held against `tests.lab.truth`.

All of them are in one laboratory (`tests.lab.wide`): for each kind one site with a client and one with
an agent.  Every connect is a cold one, from a new UDP port.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from statistics import median

from tests.lab.commands import LabError
from tests.lab.kinds import KINDS
from tests.lab.sites import SiteSettings
from tests.lab.truth import (
    ERROR_LIMIT,
    RELAY_LIMIT,
    SCENES,
    TIMELY,
    Scene,
    expected,
    heard_late,
    with_relay,
)
from tests.lab.wide import Meeting, Wide

__all__ = ["Cell", "Trial", "all_cells", "as_markdown", "run_cells", "try_once"]


#: Trials of a cell from which on it counts which path won most often.
ENOUGH_TRIALS = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """
    What one connect ended in.

    :ivar path: ``lan``, ``udp``, ``tcp``, ``relay`` or ``error``; ``broken`` when the laboratory failed.
    :ivar seconds: until the service answered, or the sentence was told.
    :ivar why: the error's sentence.
    :ivar again: the path of a connection that was opened a while later, or why there was none; empty
        where nobody tried.
    """

    path: str
    seconds: float
    why: str = ""
    again: str = ""


@dataclass(slots=True)
class Cell:
    """
    All trials of one client's kind with one server's kind, or of one scene.

    :ivar client: the kind of the client's site, or the name of a scene.
    :ivar server: the kind of the server's site; empty for a scene.
    :ivar wanted: what a trial may end in.
    :ivar meeting: where client and server are.
    :ivar later: what a connection that is opened a while later may go by; empty where none is.
    :ivar round_trip: seconds of one between client and server, by way of the core; 0 where it was not
        delayed, and does not count.
    :ivar trials: in order.
    :ivar doubted: the trials beside which other clients were at work and that deviated, so that all were
        made again with this client alone; empty where that was not needed.
    """

    client: str
    server: str
    wanted: frozenset[str]
    meeting: Meeting
    later: frozenset[str] = frozenset()
    round_trip: float = 0.0
    trials: list[Trial] = field(default_factory=list)
    doubted: list[Trial] = field(default_factory=list)

    @classmethod
    def between(cls, client: str, server: str, *, relay: bool = False) -> Cell:
        """Make the cell of two kinds."""
        meeting = Meeting(SiteSettings(client), SiteSettings(server))
        wanted, late = expected(client, server), heard_late(client, server)
        return cls._make(client, server, wanted, meeting, relay, late)

    @classmethod
    def of(cls, scene: Scene, *, relay: bool = False) -> Cell:
        """Make the cell of a scene."""
        meeting = Meeting(scene.a, scene.b, scene.isp)
        return cls._make(scene.name, "", scene.expected, meeting, relay, scene.late)

    @classmethod
    def _make(
        cls,
        client: str,
        server: str,
        wanted: frozenset[str],
        meeting: Meeting,
        relay: bool,
        late: bool,
    ) -> Cell:
        first, later = with_relay(wanted, late=late) if relay else (wanted, frozenset[str]())
        return cls(client, server, first, meeting, later)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.client} to {self.server}" if self.server else self.client

    @property
    def deviations(self) -> list[str]:
        """A sentence for each trial that is not as expected, if they are more than may be."""
        told = [told for trial in self.trials if (told := self._deviation(trial))]
        if len(told) > self.spare:
            return told
        if self._slow:
            return ["most by TCP, though UDP is faster here"]
        trips = self.round_trips
        if trips > RELAY_LIMIT and len(self.trials) >= ENOUGH_TRIALS:
            return [f"{trips:.1f} round trips by the relay instead of {RELAY_LIMIT:g}"]
        return []

    @property
    def round_trips(self) -> float:
        """How many the median connect took where the relay is the only way; 0 elsewhere."""
        if self.wanted != frozenset({"relay"}) or not self.trials or not self.round_trip:
            return 0.0
        return median(trial.seconds for trial in self.trials) / self.round_trip

    @property
    def _slow(self) -> bool:
        """Whether TCP, which joins late and from both ends here, has won too often."""
        late = self.wanted == frozenset({"udp", "tcp"}) and self.server not in ("", "none")
        by_tcp = sum(trial.path == "tcp" for trial in self.trials)
        return late and len(self.trials) >= ENOUGH_TRIALS and 2 * by_tcp > len(self.trials)

    @property
    def spare(self) -> int:
        """How many trials may deviate: one of 20 where the right moment is all, else none."""
        timely = TIMELY in (self.client, self.server) and "udp" in self.wanted
        return len(self.trials) // 20 if timely else 0

    def _deviation(self, trial: Trial) -> str:
        if trial.path not in self.wanted:
            what = f"{trial.path} instead of {' or '.join(sorted(self.wanted))}"
            return f"{what}: {trial.why}" if trial.why else what
        if trial.path == "error" and trial.seconds > ERROR_LIMIT:
            return f"the error took {trial.seconds:.1f} s"
        if self.later and trial.again not in self.later:
            return f"later {trial.again or 'nothing'} instead of {' or '.join(sorted(self.later))}"
        return ""

    def doubt(self) -> None:
        """Forget the trials, to make them again."""
        self.doubted, self.trials = self.trials, []

    def as_text(self) -> str:
        """Paths with how often each, and the median time."""
        if not self.trials:
            return "?"
        paths = [trial.path for trial in self.trials]
        told = ", ".join(
            path if paths.count(path) == len(paths) else f"{path} {paths.count(path)}/{len(paths)}"
            for path in dict.fromkeys(paths)
        )
        seconds = median(trial.seconds for trial in self.trials)
        mark = " **!**" if self.deviations else ""
        later = dict.fromkeys(trial.again for trial in self.trials if trial.again)
        if list(later) != list(dict.fromkeys(paths)) and later:
            mark = f", then {' or '.join(later)}{mark}"
        trips = f" ({self.round_trips:.1f} trips)" if self.round_trips else ""
        return f"{told} {seconds * 1000:.0f}{trips}{mark}"


def try_once(wide: Wide, cell: Cell) -> Trial:
    """Reach the server once, by whatever path."""
    began = time.monotonic()
    try:
        report = wide.knock(cell.meeting, relay=bool(cell.later))
    except LabError as error:
        return Trial("broken", time.monotonic() - began, str(error).splitlines()[0])
    if report["outcome"] == "ok":
        return Trial(report["path"], report["ms"]["accepted"] / 1000, "", report.get("again", ""))
    path = "broken" if report["path"] == "broken" else "error"
    return Trial(path, report["seconds"], report["outcome"], report.get("again", ""))


def all_cells(only: Collection[str] = (), *, relay: bool = False) -> list[Cell]:
    """
    Make a cell for every client's kind with every server's, and for every scene.

    :param only: with these kinds, only the pairs within them, and no scene.
    :param relay: with a relay in the core, and a second connection a while after each.
    """
    kinds = [kind for kind in KINDS if not only or kind in only]
    cells = [Cell.between(*pair, relay=relay) for pair in itertools.product(kinds, repeat=2)]
    return cells if only else cells + [Cell.of(scene, relay=relay) for scene in SCENES]


def run_cells(
    cells: Sequence[Cell], *, rounds: int, delay: float = 0.0, jobs: int = 1
) -> Iterator[Cell]:
    """
    Run cells in one laboratory, all once, then all a second time, and so on.

    :param rounds: connects in each cell.
    :param delay: one way between each site, or the ISP that sites share, and the core, in seconds.
    :param jobs: clients that connect at one time.
    :return: the cells, as they are done; what has not begun when the iterator is closed never is.  What
        deviates while several clients connect is made again, by one at a time, before it is given.
    """
    for cell in cells:
        cell.round_trip = cell.meeting.round_trip(delay)
    try:
        relay = any(cell.later for cell in cells)
        with Wide([cell.meeting for cell in cells], delay=delay, relay=relay) as wide:
            doubtful: list[Cell] = []
            for cell in _in(wide, cells, rounds, jobs):
                if jobs > 1 and cell.deviations:
                    doubtful.append(cell)
                else:
                    yield cell
            for cell in doubtful:
                cell.doubt()
            yield from _in(wide, doubtful, rounds, 1)
    except (LabError, OSError) as error:
        broken = Trial("broken", 0.0, str(error).splitlines()[0])
        for cell in cells:
            missing = rounds - len(cell.trials)
            cell.trials += [broken] * missing
            if missing:
                yield cell


def _in(wide: Wide, cells: Sequence[Cell], rounds: int, jobs: int) -> Iterator[Cell]:
    """Let each client work through its own cells, several clients at one time."""
    waiting: dict[SiteSettings, deque[Cell]] = defaultdict(deque)
    for _, cell in itertools.product(range(rounds), cells):
        waiting[cell.meeting.client].append(cell)
    pool = ThreadPoolExecutor(jobs)
    running: dict[Future[Trial], Cell] = {}
    busy: set[SiteSettings] = set()
    try:
        while waiting or running:
            # Who has most left to do begins first.
            for client in sorted(waiting, key=lambda each: -len(waiting[each])):
                if client not in busy and len(running) < jobs:
                    cell = waiting[client].popleft()
                    if not waiting[client]:
                        del waiting[client]
                    busy.add(client)
                    running[pool.submit(try_once, wide, cell)] = cell
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                cell = running.pop(each)
                busy.remove(cell.meeting.client)
                cell.trials.append(each.result())
                if len(cell.trials) == rounds:
                    yield cell
    finally:
        pool.shutdown(cancel_futures=True)


def as_markdown(cells: Sequence[Cell], *, rounds: int, delay: float) -> str:
    """Write the table, and what deviates."""
    return "\n".join(_document(cells, rounds, delay))


def _document(cells: Sequence[Cell], rounds: int, delay: float) -> Iterator[str]:
    found = {(cell.client, cell.server): cell for cell in cells if cell.server}
    kinds = [kind for kind in KINDS if any(kind in pair for pair in found)]
    scenes = {cell.client: cell for cell in cells if not cell.server}
    deviating = [cell for cell in cells if cell.deviations]
    trials = sum(len(cell.trials) for cell in cells)
    yield "# Who connects to whom, and by which path"
    yield ""
    how = " --relay" if any(cell.later for cell in cells) else ""
    yield f"Written by `python -m tests.lab --full{how}`; `tests/lab/truth.py` has what is expected,"
    yield "`python -m tests.lab --list` explains the kinds of site.  Rows are clients, columns are"
    yield f"servers.  A cell holds the path and the median milliseconds of {rounds} connects with"
    yield f"{delay * 1000:g} ms one way between a site and the core: until the service answered, or,"
    yield "for an error, until the sentence was told.  **!** marks a deviation."
    yield ""
    yield f"{len(cells)} cells, {trials} connects; {len(deviating)} cells deviate from the truth."
    doubted = [cell for cell in cells if cell.doubted]
    if doubted:
        yield "These deviated while several clients connected at one time, and were run again alone, which"
        yield f"is what counts: {'; '.join(_doubted(cell) for cell in doubted)}."
    yield from _relayed(cells)
    if len(found) < len(kinds) ** 2:
        yield "Empty cells were not run."
    yield ""
    yield f"| client \\ server | {' | '.join(kinds)} |"
    yield "|---" * (len(kinds) + 1) + "|"
    for client in kinds:
        row = (found.get((client, server)) for server in kinds)
        texts = " | ".join(cell.as_text() if cell else "" for cell in row)
        yield f"| {client} | {texts} |"
    yield ""
    if scenes:
        yield "| Further scenes | |"
        yield "|---|---|"
        for scene in SCENES:
            if scene.name in scenes:
                yield f"| {scene.name} | {scenes[scene.name].as_text()} |"
        yield ""
    yield "## Deviations"
    yield ""
    if not deviating:
        yield "None."
    for cell in deviating:
        told = cell.deviations
        yield f"* {cell.name}, {len(told)} of {len(cell.trials)}:"
        for sentence in dict.fromkeys(told):
            yield f"  {sentence}"
    yield ""


def _doubted(cell: Cell) -> str:
    """Tell what a cell was at first."""
    return replace(cell, trials=cell.doubted).as_text().replace(" **!**", "") + f" ({cell.name})"


def _relayed(cells: Sequence[Cell]) -> Iterator[str]:
    """Tell what the relay costs where it is the only way."""
    trips = [cell.round_trips for cell in cells if cell.round_trips]
    if trips:
        yield f"In the {len(trips)} cells without a direct path the relay took {median(trips):.2f}"
        yield f"round trips between client and server (medians from {min(trips):.2f} to"
        yield f"{max(trips):.2f}; {RELAY_LIMIT:g} are allowed)."
    if any(cell.later for cell in cells):
        yield "After *then*: the path of a connection that was opened two seconds later, where that is"
        yield "another one."
