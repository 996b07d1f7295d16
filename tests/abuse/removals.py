"""Checks that are taken out of a copy of the sources: the tests must notice each.

A test against forged or spoofed packets that passes without the check proves nothing.  Each
:class:`Removal` names a check, the tests that are there for it, and how the code looks without it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["REMOVALS", "Removal", "remove", "report"]

ROOT = Path(__file__).parents[2]

_LONGEST = 300.0
"""Seconds for the tests of one removal: one that never ends was noticed, too."""


@dataclass(frozen=True)
class Removal:
    """One check.

    :ivar name: what it keeps out.
    :ivar path: the module, from the top of the sources.
    :ivar check: its text, which stands there once.
    :ivar without: what stands there without it.
    :ivar tests: names for trial; at least one must fail.
    """

    name: str
    path: str
    check: str
    without: str
    tests: tuple[str, ...]


_FORGED = "tests.abuse.test_forged.ForgedTests."
_SPOOFED = "tests.abuse.test_spoofed."
_HOSTILE = "tests.abuse.test_hostile_ends."
_FLOODS = "tests.mediator.test_floods."
_RULES = "tests.abuse.test_relay_rules."

REMOVALS = (
    Removal(
        "NAKs of what was never sent",
        "wavesync/udt/sender.py",
        "if any(stop > buffer.next for _, stop in ranges):",
        "if False:",
        (_FORGED + "test_naks",),
    ),
    Removal(
        "ACKs of what was never sent",
        "wavesync/udt/feedback.py",
        "if not buffer.acknowledged - MAX_FLIGHT <= point <= buffer.next:",
        "if not buffer.acknowledged - MAX_FLIGHT <= point:",
        (_FORGED + "test_acks",),
    ),
    Removal(
        "ACKs of what was acknowledged long ago",
        "wavesync/udt/feedback.py",
        "if not buffer.acknowledged - MAX_FLIGHT <= point <= buffer.next:",
        "if not point <= buffer.next:",
        (_FORGED + "test_old_acks",),
    ),
    Removal(
        "numbers of forged ACKs, once an ACK moves the point",
        "wavesync/udt/feedback.py",
        "if newest > self._newest_ack or point > buffer.acknowledged:",
        "if newest > self._newest_ack:",
        (_FORGED + "test_acks",),
    ),
    Removal(
        "windows in ACKs that are older than what is known",
        "wavesync/udt/sender.py",
        "if report is not None and moved >= 0:",
        "if report is not None:",
        (_FORGED + "test_old_acks",),
    ),
    Removal(
        "ACK2s of ACKs that were never sent",
        "wavesync/udt/acknowledger.py",
        "if entry is None:\n            return False",
        "if entry is None:\n            entry = (now - 5.0, self._point)",
        (_FORGED + "test_acks",),
    ),
    Removal(
        "SHUTDOWNs, and all else, from anybody but the peer",
        "wavesync/udt/sorting.py",
        "if link is not None and source in link.sources and not is_handshake(data):",
        "if link is not None and not is_handshake(data):",
        (_FORGED + "test_source_unknown", _FORGED + "test_shutdowns"),
    ),
    Removal(
        "SHUTDOWNs for another socket id, inside a burst",
        "wavesync/udt/connection.py",
        "if destination != self._local_id:",
        "if False:",
        (_FORGED + "test_shutdowns",),
    ),
    Removal(
        "rendezvous handshakes with another token",
        "wavesync/udt/punching.py",
        "packet.cookie != self.token",
        "False",
        ("tests.udt.test_forgers.ForgerTests",),
    ),
    Removal(
        "handshakes without a cookie of ours",
        "wavesync/udt/listening.py",
        "if not skip and not self._cookies.check(request.cookie, source, now):",
        "if False:",
        ("tests.udt.test_listening.ListenerTests",),
    ),
    Removal(
        "answers for closed connections, to anybody but their peer",
        "wavesync/udt/closed.py",
        "if memory is None or memory.remote != source:",
        "if memory is None:",
        ("tests.udt.test_closed",),
    ),
    Removal(
        "updates beyond what came from a source",
        "wavesync/mediator/introducing.py",
        "if self._credit[way.source] < len(update):",
        "if False:",
        (_SPOOFED + "OwnProofTests.test_updates", _SPOOFED + "OwnProofTests.test_exact"),
    ),
    Removal(
        "answers that are not charged to the credit for updates",
        "wavesync/mediator/introducing.py",
        "spent = CONNECT_SIZE - ConnectAnswer.size(way.source, self._body)",
        "spent = CONNECT_SIZE",
        (_SPOOFED + "OwnProofTests.test_updates", _SPOOFED + "OwnProofTests.test_exact"),
    ),
    Removal(
        "answers longer than their requests",
        "wavesync/mediator/core.py",
        "if answer is not None and len(answer) > len(data):",
        "if False:",
        (_SPOOFED + "OwnProofTests.test_short_requests",),
    ),
    Removal(
        "copies of a proof from another host",
        "wavesync/mediator/connecting.py",
        "if seen.host != host:",
        "if False:",
        (_SPOOFED + "WireTests.test_copied",),
    ),
    Removal(
        "signatures of UDP sources beyond their bucket",
        "wavesync/mediator/admission.py",
        "if spoofable and not self._affordable(blob, purpose, holder, now):",
        "if False:",
        (_FLOODS + "CheckTests",),
    ),
    Removal(
        "signatures over TCP beyond the buckets",
        "wavesync/mediator/admission.py",
        "if not afford(now):",
        "if False:",
        ("tests.mediator.test_stream_proofs",),
    ),
    Removal(
        "updates returned by anybody but the client",
        "wavesync/mediator/core.py",
        "if introduction is not None and host in introduction.hosts:\n"
        "                    introduction.client_knows(update.sequence)",
        "if introduction is not None:\n"
        "                    introduction.client_knows(update.sequence)",
        ("tests.mediator.test_updates.AckTests.test_forged_echo",),
    ),
    Removal(
        "a mediator's requests for one signature after the other",
        "wavesync/client/asking.py",
        "and way.challenges < MAX_CHALLENGES:",
        "and True:",
        (_HOSTILE + "HostileMediatorTests",),
    ),
    Removal(
        "connections to mediators that are not needed any more",
        "wavesync/client/asking.py",
        "        if self._leg is not None:\n            self._leg.abandon()",
        "        self._leg = None",
        (_HOSTILE + "HostileMediatorTests",),
    ),
    Removal(
        "connections to peers that were given up",
        "wavesync/client/paths.py",
        "        connecting.cancel()\n        session.cancel()",
        "        connecting.cancel()",
        (_HOSTILE + "HostilePeerTests.test_storms",),
    ),
    Removal(
        "relay: signatures of a source beyond its bucket",
        "wavesync/relay/admission.py",
        "if not self._checks.allow(host, now, cost):",
        "if False:",
        ("tests.relay.test_hostile.HeadTests.test_checks", "tests.abuse.test_relay_flood"),
    ),
    Removal(
        "relay: proofs that were used before",
        "wavesync/relay/admission.py",
        "if self._replays.find(proof.digest) is not None:",
        "if False:",
        (_RULES + "CopiedTests.test_replayed",),
    ),
    Removal(
        "relay: clients of other systems",
        "wavesync/relay/admission.py",
        "if peer.system != target.system or (own and",
        "if (own and",
        (_RULES + "CopiedTests.test_curious",),
    ),
    Removal(
        "relay: connections that are lost without a request",
        "wavesync/relay/protocol.py",
        "self._silence()  # Twisted's TLS",
        "self._silent, self._role = True, None  # Twisted's TLS",
        ("tests.relay.test_fronts.TLSTests.test_goes_early",),
    ),
    Removal(
        "relay: answers of servers that nobody asked",
        "wavesync/relay/parked.py",
        "if isinstance(line, Pong) and self._asked_at is not None:",
        "if isinstance(line, Pong):",
        ("tests.relay.test_house.ParkedTests.test_flood",),
    ),
    Removal(
        "relay: clients that send and send",
        "wavesync/relay/visitor.py",
        "if len(self._early) >= MAX_EARLY:",
        "if False:",
        (_RULES + "SlowTests.test_early",),
    ),
    Removal(
        "relay: too many clients that wait for a server",
        "wavesync/relay/pool.py",
        "full = len(found.waiting) >= self._waiting_per_server",
        "full = False",
        (_RULES + "QuotaTests.test_waiting",),
    ),
    Removal(
        "relay: too many pairs",
        "wavesync/relay/quotas.py",
        "if not shares.room(owner):",
        "if False:",
        (_RULES + "QuotaTests.test_pairs",),
    ),
    Removal(
        "relay: proofs that were made before it was started",
        "wavesync/relay/admission.py",
        "proof.time < self._started and",
        "False and",
        ("tests.relay.test_hostile.ProofTests.test_restarted",),
    ),
    Removal(
        "mediator: proofs that were made before it was started",
        "wavesync/mediator/connecting.py",
        "proof.time < self._started or",
        "False or",
        ("tests.mediator.test_connecting",),
    ),
    Removal(
        "relay: more connections than open files",
        "wavesync/relay/service.py",
        "self.connections.most = descriptors.connections",
        "pass",
        ("tests.abuse.test_relay_files.FewFilesTests",),
    ),
    Removal(
        "relay: what somebody said, in the sentence on his bad request",
        "wavesync/tunnel/heads.py",
        """str(error).partition(": b")[0]""",
        "str(error)",
        ("tests.signalling.test_relay_wire.AnswerTests.test_echo",),
    ),
    Removal(
        "lying relay: a client that waits for its answer",
        "wavesync/client/relay_path.py",
        "if dials.ready:",
        "if False:",
        ("tests.client.test_relay_path.RelayPathTests.test_relay_keeps_silent",),
    ),
    Removal(
        "lying relay: lines without end",
        "wavesync/agent/parked.py",
        "if self._lines_left < 0:",
        "if False:",
        ("tests.agent.test_parked.ParkedLegTests.test_flood",),
    ),
    Removal(
        "lying relay: connections used up as fast as they come",
        "wavesync/agent/parking.py",
        """if not self._dials.allow("", now):""",
        "if False:",
        ("tests.agent.test_parking.IdleTests.test_used_up",),
    ),
    Removal(
        "lying relay: all places for unknown clients",
        "wavesync/session/crowd.py",
        "if len(relayed) >= places * RELAYED_SHARE else None",
        "if relayed is None else None",
        (
            "tests.session.test_session.BoundTests.test_relayed",
            "tests.abuse.test_lying_relay.LyingRelayTests.test_clients",
        ),
    ),
    Removal(
        "lying relay: coming and going",
        "wavesync/agent/relays.py",
        """if parked != self.parked and self._tells.allow("", self._clock.seconds()):""",
        "if parked != self.parked:",
        ("tests.agent.test_relays.FewRelaysTests.test_comes_and_goes",),
    ),
    Removal(
        "lying relay: revocation lists without end",
        "wavesync/agent/relays.py",
        "self._clock.seconds() + UPLOADED_AGAIN",
        "0.0",
        ("tests.agent.test_relays.RevocationTests.test_forgets",),
    ),
)


def remove(removal: Removal, text: str) -> str:
    """Give a module's text without the check.

    :raises ValueError: the check does not stand there once.
    """
    count = text.count(removal.check)
    if count != 1:
        raise ValueError(f"{removal.name}: {removal.check!r} is {count} times in {removal.path}")
    return text.replace(removal.check, removal.without)


def passes(tests: tuple[str, ...], removal: Removal | None = None) -> bool:
    """Run tests on a copy of the sources.

    :param removal: what to take out of the copy first.
    :returns: whether all of them passed.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__", "_trial_temp*", ".*")
        for name in ("wavesync", "tests", "docs", "etc", "twisted"):
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        if removal is not None:
            module = copy / removal.path
            module.write_text(remove(removal, module.read_text("utf-8")), "utf-8")
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        trial = [sys.executable, "-m", "twisted.trial", "--temp-directory", str(copy / "temporary")]
        try:
            done = subprocess.run(
                [*trial, *tests],
                cwd=copy,
                env=environment,
                capture_output=True,
                check=False,
                timeout=_LONGEST,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def report(only: str = "") -> int:
    """Take out each check in turn and print whether its tests noticed.

    :param only: only those with this in their names.
    :returns: 0 when all were noticed, and the tests pass with all checks in place.
    """
    chosen = [removal for removal in REMOVALS if only in removal.name]
    tests = tuple(dict.fromkeys(test for removal in chosen for test in removal.tests))
    bad = not chosen or not passes(tests)
    sys.stdout.write(f"with all checks: {'FAILED' if bad else 'passed'}\n")
    for removal in chosen:
        missed = [test for test in removal.tests if passes((test,), removal)]
        bad |= len(missed) == len(removal.tests)
        told = "noticed" if not missed else f"noticed, not by {', '.join(missed)}"
        if len(missed) == len(removal.tests):
            told = "NOT NOTICED"
        sys.stdout.write(f"{removal.name}: {told}\n")
        sys.stdout.flush()
    return int(bad)
