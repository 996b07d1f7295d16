"""The two state machines of the mediator: every state with every input."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.mediator.introduction import Progress, build_progress
from wavesync.mediator.registration import ServerLeg, build_server_leg
from wavesync.mediator.registry import Registration
from wavesync.signalling.messages import Bind, ConnectionResult, Refusal
from wavesync.signalling.numbers import ConnectType
from wavesync.stun.message import Message, MessageClass

REQUEST = Message(0x52, MessageClass.REQUEST, bytes(12))
REFUSAL = Refusal(400)
BIND = Bind(1, (), ())
RESULT = ConnectionResult("0" * 32, 0, ConnectType.UDP, 0.0)


class Recorder:
    """Hands of either machine: notes the names of what it is told to do."""

    source: Address = ("192.0.2.1", 4000)
    tunnelled = False

    def __init__(self) -> None:
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments: self.done.append(name)

    def take(self) -> str:
        """Return, and forget, what was done, as words."""
        done, self.done = self.done, []
        return " ".join(done)

    # The typed builder wants to see that these are hands.
    def send(self, data: bytes) -> None:
        """Never called."""

    def supersede(self) -> None:
        """Never called."""

    def expel(self) -> None:
        """Never called."""


REGISTRATION = Registration(1, Target("a" * 32, "b" * 32), bytes(32), Recorder())

LEG_INPUTS: dict[str, Callable[[ServerLeg], None]] = {
    "challenge": lambda leg: leg.challenge(REQUEST, REFUSAL),
    "listen_proved": lambda leg: leg.listen_proved(REQUEST, REGISTRATION, bytes(32)),
    "listen_refused": lambda leg: leg.listen_refused(REQUEST, REFUSAL),
    "bind_proved": lambda leg: leg.bind_proved(REQUEST, BIND),
    "bind_refused": lambda leg: leg.bind_refused(REQUEST, REFUSAL),
    "superseded": lambda leg: leg.superseded(),
    "revoked": lambda leg: leg.revoked(),
    "silent": lambda leg: leg.silent(),
    "lost": lambda leg: leg.lost(),
    "leaving": lambda leg: leg.leaving(),
}

# For each state: how to get there, and for each input what is done and the state after it.
_UNREGISTERED = {
    "challenge": ("refuse", "challenged"),
    "listen_proved": ("register", "registered"),
    "listen_refused": ("refuse hang_up", "ended"),
    "bind_proved": ("out_of_turn", None),
    "bind_refused": ("out_of_turn", None),
    "superseded": ("", None),
    "revoked": ("", None),
    "silent": ("hang_up", "ended"),
    "lost": ("", "ended"),
    "leaving": ("hang_up", "ended"),
}
LEG_TABLE: dict[str, tuple[list[str], "Row"]] = {
    "new": ([], _UNREGISTERED),
    "challenged": (["challenge"], _UNREGISTERED),
    "registered": (
        ["challenge", "listen_proved"],
        {
            "challenge": ("out_of_turn", None),
            "listen_proved": ("out_of_turn", None),
            "listen_refused": ("out_of_turn", None),
            "bind_proved": ("publish", None),
            "bind_refused": ("refuse", None),
            "superseded": ("say_superseded hang_up", "ended"),
            "revoked": ("unregister say_revoked hang_up", "ended"),
            "silent": ("unregister hang_up", "ended"),
            "lost": ("unregister", "ended"),
            "leaving": ("unregister say_leaving hang_up", "ended"),
        },
    ),
    "ended": (["lost"], dict.fromkeys(LEG_INPUTS, ("", None))),
}

PROGRESS_INPUTS: dict[str, Callable[[Progress], None]] = {
    "begin": lambda progress: progress.begin(),
    "acknowledged": lambda progress: progress.acknowledged(),
    "server_moved": lambda progress: progress.server_moved(),
    "client_moved": lambda progress: progress.client_moved(),
    "repeat_due": lambda progress: progress.repeat_due(),
    "result": lambda progress: progress.result(RESULT),
    "expired": lambda progress: progress.expired(),
}

_UNDER_WAY: dict[str, tuple[str, str | None]] = {
    "begin": ("", None),
    "server_moved": ("tell_client", None),
    "client_moved": ("tell_server", None),
    "repeat_due": ("repeat", None),
    "result": ("stop_telling note_result", "finished"),
    "expired": ("note_unreported forget", "forgotten"),
}
_NOTHING: dict[str, tuple[str, str | None]] = dict.fromkeys(PROGRESS_INPUTS, ("", None))
PROGRESS_TABLE: dict[str, tuple[list[str], "Row"]] = {
    "admitted": (
        [],
        {**_NOTHING, "begin": ("request", "requested"), "expired": ("forget", "forgotten")},
    ),
    "requested": (
        ["begin"],
        {**_UNDER_WAY, "acknowledged": ("note_acknowledged", "punching")},
    ),
    "punching": (["begin", "acknowledged"], {**_UNDER_WAY, "acknowledged": ("", None)}),
    "finished": (
        ["begin", "result"],
        {**_NOTHING, "expired": ("forget", "forgotten")},
    ),
    "forgotten": (["begin", "expired"], _NOTHING),
}


Row = dict[str, tuple[str, str | None]]


class TableTests(SynchronousTestCase):
    """A peer may say anything at any time; what happens then is written down here."""

    def test_server_leg(self) -> None:
        """A server's leg does what the table says, in every state for every input."""

        def start() -> Callable[[str], str]:
            recorder = Recorder()
            leg = build_server_leg(recorder)

            def meet(name: str) -> str:
                LEG_INPUTS[name](leg)
                return recorder.take()

            return meet

        self._check(start, LEG_TABLE, set(LEG_INPUTS))

    def test_introduction(self) -> None:
        """An introduction does what the table says, in every state for every input."""

        def start() -> Callable[[str], str]:
            recorder = Recorder()
            progress = build_progress(recorder)

            def meet(name: str) -> str:
                PROGRESS_INPUTS[name](progress)
                return recorder.take()

            return meet

        self._check(start, PROGRESS_TABLE, set(PROGRESS_INPUTS))

    def _check(
        self,
        start: Callable[[], Callable[[str], str]],
        table: dict[str, tuple[list[str], Row]],
        inputs: set[str],
    ) -> None:
        for state, (way, row) in table.items():
            self.assertEqual(set(row), inputs, state)
            for name, (done, after) in row.items():
                # The state afterwards shows in what each further input does.
                for then, (then_done, _) in table[after or state][1].items():
                    meet = start()
                    for step in way:
                        meet(step)
                    self.assertEqual(meet(name), done, (state, name))
                    self.assertEqual(meet(then), then_done, (state, name, then))
