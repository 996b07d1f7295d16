"""The product between all kinds of sites, in both roles, held against `tests.lab.truth`.

Each pair of kinds gets a laboratory of its own, with an agent at both sites; the rounds of both
directions share it.  Every round is a new ``wavesync ping`` with a new UDP port.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median

from tests.lab.commands import LabError
from tests.lab.kinds import KINDS
from tests.lab.product import Product
from tests.lab.sites import SiteSettings
from tests.lab.topology import Lab
from tests.lab.truth import ERROR_LIMIT, SCENES, Scene, expected

__all__ = ["Cell", "Trial", "as_markdown", "run_matrix", "run_pair", "run_scene", "try_once"]

_ATTEMPT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Trial:
    """
    What one connect ended in.

    :ivar path: ``udp``, ``tcp`` or ``error``; ``broken`` when the laboratory failed.
    :ivar seconds: until the service answered, or the last candidate was given up.
    :ivar why: the error's sentence.
    """

    path: str
    seconds: float
    why: str = ""


@dataclass(slots=True)
class Cell:
    """
    All trials of one client's kind with one server's kind, or of one scene.

    :ivar client: the kind of the client's site, or the name of a scene.
    :ivar server: the kind of the server's site; empty for a scene.
    :ivar wanted: what a trial may end in.
    :ivar trials: in order.
    """

    client: str
    server: str
    wanted: frozenset[str]
    trials: list[Trial] = field(default_factory=list)

    @classmethod
    def between(cls, client: str, server: str) -> Cell:
        """Make the cell of two kinds."""
        return cls(client, server, expected(client, server))

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.client} to {self.server}" if self.server else self.client

    @property
    def deviations(self) -> list[str]:
        """A sentence for each trial that is not as expected."""
        return [told for trial in self.trials if (told := self._deviation(trial))]

    def _deviation(self, trial: Trial) -> str:
        if trial.path not in self.wanted:
            what = f"{trial.path} instead of {' or '.join(sorted(self.wanted))}"
            return f"{what}: {trial.why}" if trial.why else what
        if trial.path == "error" and trial.seconds > ERROR_LIMIT:
            return f"the error took {trial.seconds:.1f} s"
        return ""

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
        return f"{told} {seconds * 1000:.0f}{mark}"


def try_once(product: Product, *options: str) -> Trial:
    """
    Reach the server once, by whatever path.

    :param options: further options of ``wavesync ping``.
    """
    report = product.files / f"trial-{time.monotonic_ns()}.json"
    began = time.monotonic()
    try:
        done = product.wavesync(
            *("ping", "-c", "1", "--report", str(report), *options, str(product.server.target)),
            timeout=_ATTEMPT_TIMEOUT,
        )
    except LabError as error:
        return Trial("broken", time.monotonic() - began, str(error).splitlines()[0])
    took = time.monotonic() - began
    told = json.loads(report.read_text() or "{}") if report.exists() else {}
    if done.status == 0:
        return Trial(told["path"], told["ms"]["accepted"] / 1000)
    lines = done.stderr.strip().splitlines()
    why = lines[-1] if lines else f"status {done.status}"
    ends = [each["ended"] / 1000 for each in told.get("candidates", ()) if each["ended"]]
    return Trial("error" if done.status == 1 else "broken", max(ends, default=took), why)


def run_pair(a: str, b: str, *, rounds: int, delay: float = 0.0) -> list[Cell]:
    """
    Run both directions between two kinds of site; one cell if the kinds are the same.

    :param rounds: connects in each direction.
    :param delay: one way between each site and the core, in seconds.
    """
    cells = [Cell.between(a, b)] + ([Cell.between(b, a)] if a != b else [])

    def try_all(lab: Lab) -> None:
        products = [Product(lab), Product(lab, client=lab.b)][: len(cells)]
        products[0].start_mediator()
        for product in products:
            product.start_agent(udp=product.server_site.kind.udp)
        for _, (cell, product) in itertools.product(
            range(rounds), list(zip(cells, products, strict=True))
        ):
            cell.trials.append(try_once(product))

    _in_lab(lambda: Lab(a, b, delay=delay), try_all, cells, rounds)
    return cells


def run_scene(scene: Scene, *, rounds: int, delay: float = 0.0) -> list[Cell]:
    """
    Run one scene, in the direction it has.

    :param rounds: connects.
    :param delay: one way between each site, or the ISP they share, and the core, in seconds.
    """
    cell = Cell(scene.name, "", scene.expected)
    far = 0.0 if scene.isp else delay
    a = replace(scene.a, delay=far)
    b = replace(scene.b, delay=far) if scene.b else SiteSettings("none")
    isp = replace(scene.isp, delay=delay) if scene.isp else None

    def try_all(lab: Lab) -> None:
        first, second = (lab.a.host, lab.b.host) if scene.b else lab.a.hosts
        product = Product(lab, hosts=(first, second))
        product.start_mediator()
        product.start_agent(udp=(lab.b if scene.b else lab.a).kind.udp)
        for _ in range(rounds):
            cell.trials.append(try_once(product))

    _in_lab(lambda: Lab(a, b, isp=isp), try_all, [cell], rounds)
    return [cell]


def _in_lab(
    build: Callable[[], Lab], try_all: Callable[[Lab], None], cells: list[Cell], rounds: int
) -> None:
    """Do it all in a laboratory; what its failure leaves undone is told in the cells."""
    try:
        with build() as lab:
            try_all(lab)
    except (LabError, OSError) as error:
        broken = Trial("broken", 0.0, str(error).splitlines()[0])
        for cell in cells:
            cell.trials += [broken] * (rounds - len(cell.trials))


def run_matrix(
    *,
    rounds: int,
    delay: float = 0.0,
    jobs: int = 1,
    only: Collection[str] = (),
) -> Iterator[Cell]:
    """
    Run every pair of kinds in both directions, and every scene.

    :param rounds: connects in each direction of each pair, or in each scene.
    :param delay: one way between each site and the core, in seconds.
    :param jobs: laboratories at one time.
    :param only: with these kinds, only the pairs within them, and no scene.
    :return: the cells, as they are done; what has not begun when the iterator is closed never is.
    """
    kinds = [kind for kind in KINDS if not only or kind in only]
    tasks: list[Callable[[], list[Cell]]] = [
        partial(run_pair, *pair, rounds=rounds, delay=delay)
        for pair in itertools.combinations_with_replacement(kinds, 2)
    ]
    if not only:
        tasks += [partial(run_scene, scene, rounds=rounds, delay=delay) for scene in SCENES]
    pool = ThreadPoolExecutor(jobs)
    try:
        for done in as_completed([pool.submit(task) for task in tasks]):
            yield from done.result()
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
    yield "Written by `python -m tests.lab --full`; `tests/lab/truth.py` has what is expected,"
    yield "`python -m tests.lab --list` explains the kinds of site.  Rows are clients, columns are"
    yield f"servers.  A cell holds the path and the median milliseconds of {rounds} connects with"
    yield f"{delay * 1000:g} ms one way between a site and the core: until the service answered, or,"
    yield "for an error, until the last candidate was given up.  **!** marks a deviation."
    yield ""
    yield f"{len(cells)} cells, {trials} connects; {len(deviating)} cells deviate from the truth."
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
