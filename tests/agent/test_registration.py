"""Tests for :mod:`wavesync.agent.registration`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.registration import Wait, build_registration

PATHS_TO = {
    "idle": (),
    "dialling": ("start",),
    "greeting": ("start", "connected"),
    "proving": ("start", "connected", "challenged"),
    "registered": ("start", "connected", "challenged", "accepted"),
    "waiting": ("start", "lost"),
}

INPUTS = [
    "start",
    "stop",
    "connected",
    "lost",
    "replaced",
    "dismissed",
    "challenged",
    "accepted",
    "refused",
    "superseded",
    "due",
]

# What each input makes the hands do in each state; what is not named does nothing.
TABLE = {
    ("idle", "start"): ["dial"],
    ("dialling", "connected"): ["greet"],
    ("dialling", "lost"): ["wait unreachable"],
    ("dialling", "stop"): ["hang_up"],
    ("greeting", "challenged"): ["prove"],
    ("proving", "accepted"): ["publish"],
    ("proving", "challenged"): ["hang_up", "wait busy"],
    ("registered", "lost"): ["hang_up", "wait broken"],
    ("registered", "replaced"): ["hang_up", "change_legs", "greet"],
    ("registered", "dismissed"): ["hang_up", "wait dismissed"],
    **{
        (state, name): ["hang_up", "wait busy"]
        for state in ("greeting", "proving")
        for name in ("lost", "dismissed")
    },
    ("waiting", "due"): ["dial"],
    ("waiting", "stop"): ["stop_waiting"],
    **{
        (state, name): ["hang_up", *then]
        for state in ("greeting", "proving", "registered")
        for name, then in (
            ("refused", ["wait refused"]),
            ("superseded", ["wait superseded"]),
            ("stop", []),
        )
    },
}


class RecordingHands:
    """Writes down what the machine wants done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def dial(self) -> None:
        self.done.append("dial")

    def hang_up(self) -> None:
        self.done.append("hang_up")

    def change_legs(self) -> None:
        self.done.append("change_legs")

    def greet(self) -> None:
        self.done.append("greet")

    def prove(self) -> None:
        self.done.append("prove")

    def publish(self) -> None:
        self.done.append("publish")

    def wait(self, why: Wait) -> None:
        self.done.append(f"wait {why.value}")

    def stop_waiting(self) -> None:
        self.done.append("stop_waiting")


class RegistrationTests(SynchronousTestCase):
    """An agent gets back to its mediator whatever happens, and never in a tight loop."""

    def test_every_input_in_every_state(self) -> None:
        """The whole table: nothing a mediator says out of turn is an error or does anything."""
        for state, path in PATHS_TO.items():
            for name in INPUTS:
                hands = RecordingHands()
                machine = build_registration(hands)
                for step in path:
                    getattr(machine, step)()
                hands.done.clear()
                getattr(machine, name)()
                self.assertEqual(hands.done, TABLE.get((state, name), []), (state, name))

    def test_life(self) -> None:
        """Lost, back, superseded, stopped: what is asked of the hands, in order."""
        hands = RecordingHands()
        machine = build_registration(hands)
        for step in (
            *PATHS_TO["registered"], "lost", "due", "connected", "challenged", "accepted",
            "superseded", "lost", "due", "stop", "due",
        ):  # fmt: skip
            getattr(machine, step)()
        self.assertEqual(
            hands.done,
            [
                "dial", "greet", "prove", "publish", "hang_up", "wait broken",
                "dial", "greet", "prove", "publish", "hang_up", "wait superseded",
                "dial", "hang_up",
            ],
        )  # fmt: skip
