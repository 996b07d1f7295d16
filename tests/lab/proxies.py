"""The product through real proxies: ``python -m tests.lab.proxies --help``."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import LabError, unavailable
from tests.lab.fronts import FRONTS
from tests.lab.office import Office, office
from tests.lab.postures import POSTURES, Posture
from tests.lab.processes import poll
from tests.lab.product import PARKED
from tests.lab.proxied import ProxiedProduct
from tests.lab.proxy_faults import FAULTS, Ending, Strangers
from tests.lab.topology import RELAY_NAME, Lab

__all__ = ["DELAY", "SIZE", "Passage", "pass_through", "postured", "traced"]

DELAY = 0.01
"""Seconds one way between a site and the core: 40 ms from client to server and back."""

SIZE = 10_000_000
"""Bytes of a file."""

_ECHOES = 50
_ECHO_LIMIT = 2 * 4 * DELAY + 0.05  # seconds
_RATE_LIMIT = 5.0  # Mbit/s
_FRONTED = (POSTURES[0].name, POSTURES[2].name)
_CURL = "curl -s -o /dev/null -m 5 -w %{{http_connect}}/%{{http_code}} -x {proxy} {more} {url}"


@dataclass(frozen=True, slots=True)
class Passage:
    """How the product went through.

    :ivar posture: the proxies'.
    :ivar both: whether the client is behind one, too.
    :ivar front: what stood before mediator and relay.
    :ivar start: seconds from the start of the agent until it had parked.
    :ivar connect: seconds of a whole command until an answer.
    :ivar echo: seconds, median.
    :ivar down: Mbit/s, with the start of the command.
    :ivar up: the same.
    :ivar client: how the client reached the relay.
    :ivar agent: how the agent reached it.
    :ivar complaint: what went wrong, or "".
    """

    posture: Posture
    both: bool
    front: str
    start: float = 0.0
    connect: float = 0.0
    echo: float = 0.0
    down: float = 0.0
    up: float = 0.0
    client: str = ""
    agent: str = ""
    complaint: str = ""


def postured(here: Office, posture: Posture) -> None:
    """Prove that a proxy lets through what its posture says, and nothing gets out beside it.

    :raises LabError: it does not.
    """
    proxy = here.variables["http_proxy"]
    for url, more, wanted in (
        (f"https://{RELAY_NAME}/", "-k", f"{posture.verdicts[0]:03}/"),
        (f"http://{RELAY_NAME}/", "-p", f"{posture.verdicts[1]:03}/"),
        (f"http://{RELAY_NAME}/", "", f"000/{posture.verdicts[2]}"),
    ):
        script = _CURL.format(proxy=proxy, more=more, url=url)
        said = here.user.run(["sh", "-c", script], check=False).stdout
        if not said.startswith(wanted):
            raise LabError(f"{posture.name}: {said} and not {wanted} for {url} {more}")
    if posture.secret:
        bare = proxy.replace(f"{posture.secret}@", "")
        script = _CURL.format(proxy=bare, more="", url=f"http://{RELAY_NAME}/")
        said = here.user.run(["sh", "-c", script], check=False).stdout
        if said != "000/407":
            raise LabError(f"{posture.name}: {said} without a password")
    direct = ["curl", "-s", "-m", "1", "--noproxy", "*", f"http://{RELAY_NAME}/"]
    if here.user.run(direct, check=False).status != 28:
        raise LabError("something gets out beside the proxy")


def pass_through(lab: Lab, posture: Posture, *, both: bool, front: str = "") -> Passage:
    """Register, connect, echo and move files, and look into the proxies' logs.

    :param lab: two sites as `office` has them.
    :param both: have the client behind a proxy, too; otherwise the agent only.
    :param front: one of `FRONTS`.
    :raises LabError: something does not work, or goes another way than it should.
    """
    offices = [Office(lab.b, posture.make(), posture.secret)]
    if both:
        offices.append(Office(lab.a, posture.make(), posture.secret))
    product = ProxiedProduct(
        lab,
        (lab.a.host, lab.b.host),
        front=front,
        agent=offices[0].variables,
        client=offices[1].variables if both else {},
    )
    product.serve()
    for each in offices:
        postured(each, posture)
    began = time.monotonic()
    product.start_agent(udp=False)
    product.parked()
    start = time.monotonic() - began
    down, up = product.download(SIZE), product.upload(SIZE)
    echoes = product.echoes(_ECHOES)
    assert product.agent is not None
    relay = product.agent.wait_for_line(rf"{PARKED} (\S+),")[1]
    product.agent.wait_for_line(rf"{re.escape(relay)} is reached by (.*)")
    ways = re.findall(rf"{re.escape(relay)} is reached by (.*)", product.agent.output())
    parked = ways[-1]
    product.agent.kill()
    for each in offices:
        traced(each, posture)
    rates = [8e-6 * SIZE / moved.seconds for moved in (down, up)]
    if echoes.median > _ECHO_LIMIT or min(rates) < _RATE_LIMIT:
        raise LabError(f"too slow: {echoes} {rates}")
    return Passage(
        posture,
        both,
        front,
        start=start,
        connect=echoes.first,
        echo=echoes.median,
        down=rates[0],
        up=rates[1],
        client=down.way,
        agent=parked,
    )


def traced(here: Office, posture: Posture) -> None:
    """Look for the traces in a proxy's log, which gets some lines late."""
    for trace in posture.traces:

        def there(trace: tuple[str, ...] = trace) -> bool:
            return any(all(word in line for word in trace) for line in here.log.splitlines())

        poll(there, 15, lambda trace=trace: f"{trace} is not in {here.log[-2000:]}")  # type: ignore[misc]


def _passages(only: str) -> Iterator[Passage]:
    for posture in POSTURES:
        fronts = [each for each in FRONTS if each] if posture.name in _FRONTED else []
        for both, front in ((True, ""), (False, ""), *((True, each) for each in fronts)):
            if only not in posture.name:
                continue
            with closing(Lab(office(DELAY), office(DELAY))) as lab:
                try:
                    yield pass_through(lab, posture, both=both, front=front)
                except LabError as error:
                    yield Passage(posture, both, front, complaint=str(error))


def _endings(only: str) -> Iterator[Ending]:
    for fault in FAULTS:
        if only not in fault.__name__:
            continue
        began = time.monotonic()
        try:
            yield fault()
        except LabError as error:
            what = (fault.__doc__ or fault.__name__).splitlines()[0]
            yield Ending(what, f"**!** {error}"[:500], time.monotonic() - began, right=False)
    if only in "strangers":
        with closing(Lab(office(DELAY), "port", delay=DELAY)) as lab:
            yield from Strangers(lab).endings()


def _document(passages: Sequence[Passage], endings: Sequence[Ending]) -> Iterator[str]:
    yield "# Through HTTP proxies"
    yield ""
    yield "Written by `python -m tests.lab.proxies`.  Sites that drop all UDP, and all TCP but that of an"
    yield "HTTP proxy on their network; mediator and relay at the ports 80 and 443, by themselves or behind"
    yield f"HAProxy or nginx.  {DELAY * 1000:g} ms one way between a site and the core, 40 ms from client to server"
    yield f"and back.  {SIZE / 1e6:g} MB each way, their SHA-256 compared; rates with the start of the command, on a"
    yield "machine with two cores that runs everything.  Each proxy's log has shown the requests."
    yield ""
    yield "| proxies | who | before mediator and relay | agent ready | first echo | echo | down | up | the client's way | the agent's way |"
    yield "|---" * 10 + "|"
    for each in passages:
        who = "both" if each.both else "agent"
        head = f"| {each.posture.name} | {who} | {each.front}"
        if each.complaint:
            yield f"{head} | **!** {each.complaint.splitlines()[0][:200]} | | | | | | |"
            continue
        times = f"{each.start:.1f} s | {each.connect:.1f} s | {each.echo * 1000:.0f} ms"
        rates = f"{each.down:.0f} Mbit/s | {each.up:.0f} Mbit/s"
        yield f"{head} | {times} | {rates} | {each.client} | {each.agent} |"
    yield ""
    yield f"Two round trips and 50 ms are {_ECHO_LIMIT * 1000:.0f} ms."
    yield ""
    yield "## When something is in the way, or breaks"
    yield ""
    yield "| what | how it ended | seconds |"
    yield "|---|---|---|"
    for ending in endings:
        mark = "" if ending.right else "**!** "
        yield f"| {ending.what} | {mark}{ending.said} | {ending.seconds:.1f} |"
    yield ""


def main(argv: Sequence[str]) -> int:
    """
    Run everything, and write the table.

    :return: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.proxies",
        description="Runs the product through real proxies, and writes docs/matrix-proxies.md.  The "
        "exit status is 1 when something fails.",
    )
    parser.add_argument("--only", default="", help="postures with these words; writes nothing")
    faults = ", ".join([*(each.__name__.strip("_") for each in FAULTS), "strangers"])
    parser.add_argument(
        "--fault", help=f"faults with this in their names only, of {faults}; writes nothing"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/matrix-proxies.md"))
    options = parser.parse_args(argv)
    reason = unavailable()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    passages: list[Passage] = []
    endings: list[Ending] = []
    one = options.only or options.fault is not None
    begun = time.monotonic()
    steps: list[Iterator[Passage | Ending]] = []
    if options.fault is None:
        steps.append(_passages(options.only))
    if not options.only:
        steps.append(_endings(options.fault or ""))
    for done in itertools.chain.from_iterable(steps):
        print(done, flush=True)
        if isinstance(done, Passage):
            passages.append(done)
        else:
            endings.append(done)
        if not one:
            options.output.write_text("\n".join(_document(passages, endings)))
    print(f"{time.monotonic() - begun:.0f} s")
    wrong = any(each.complaint for each in passages) or any(not each.right for each in endings)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
