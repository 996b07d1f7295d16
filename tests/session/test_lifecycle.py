"""Tests of :mod:`wavesync.session.lifecycle`: the full table of states and inputs."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from wavesync.session.events import (
    Event,
    Finished,
    Lost,
    OpenAccepted,
    OpenRefused,
    OpenRequested,
)
from wavesync.session.frames import Frame, Open, Opened, Refused, Reset
from wavesync.session.lifecycle import Inputs, lifecycle


class Notes:
    """An owner that notes what it is asked for, in short."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def send(self, frame: Frame) -> None:
        """Note the frame's name."""
        self.notes.append("send " + type(frame).__name__)

    def tell(self, event: Event) -> None:
        """Note the event's name."""
        self.notes.append("tell " + type(event).__name__)

    def began(self, service: str) -> None:
        """Note it."""
        self.notes.append("began")

    def carries(self) -> None:
        """Note it."""
        self.notes.append("carries")

    def ended(self) -> None:
        """Note it."""
        self.notes.append("ended")


INPUTS: dict[str, Callable[[Inputs], None]] = {
    "serve": lambda m: m.serve(),
    "open": lambda m: m.open("a", ()),
    "accept": lambda m: m.accept(),
    "refuse": lambda m: m.refuse(404, "no"),
    "finish": lambda m: m.finish(),
    "abandon": lambda m: m.abandon(),
    "reset": lambda m: m.reset(499, "bye"),
    "fail": lambda m: m.fail(408, "late"),
    "lose": lambda m: m.lose("gone"),
    "OPEN": lambda m: m.open_received("a", ()),
    "OPEN with unknown option": lambda m: m.open_received("a", ((1, b""),)),
    "OPEN with ignorable option": lambda m: m.open_received("a", ((0x81, b""),)),
    "OPENED": lambda m: m.opened_received(()),
    "OPENED with unknown option": lambda m: m.opened_received(((1, b""),)),
    "REFUSED": lambda m: m.refused_received(404, "no"),
    "RESET": lambda m: m.reset_received(499, "bye"),
    "stray": lambda m: m.stray_received("what"),
}

STATES: dict[str, tuple[str, ...]] = {
    "idle": (),
    "opening": ("open",),
    "waiting": ("serve",),
    "deciding": ("serve", "OPEN"),
    "client carrying": ("open", "OPENED"),
    "server carrying": ("serve", "OPEN", "accept"),
    "over": ("open", "lose"),
}

VIOLATION = ["send Reset", "tell Lost", "ended"]
LOST = ["tell Lost", "ended"]

TABLE: dict[str, dict[str, list[str]]] = {
    "idle": {
        "serve": [],
        "open": ["send Open", "began"],
        "reset": ["ended"],
        "fail": LOST,
        "lose": LOST,
        "OPEN": VIOLATION,
        "OPENED": VIOLATION,
        "REFUSED": VIOLATION,
        "RESET": LOST,
        "stray": VIOLATION,
    },
    "opening": {
        "reset": ["send Reset", "ended"],
        "fail": VIOLATION,
        "lose": LOST,
        "OPEN": VIOLATION,
        "OPENED": ["carries", "tell OpenAccepted"],
        "OPENED with unknown option": ["carries", *VIOLATION],
        "REFUSED": ["tell OpenRefused", "ended"],
        "RESET": LOST,
        "stray": VIOLATION,
    },
    "waiting": {
        "reset": ["ended"],
        "fail": VIOLATION,
        "lose": LOST,
        "OPEN": ["began", "tell OpenRequested"],
        "OPEN with unknown option": ["began", "send Refused", "ended"],
        "OPENED": VIOLATION,
        "REFUSED": VIOLATION,
        "RESET": LOST,
        "stray": VIOLATION,
    },
    "deciding": {
        "accept": ["send Opened", "carries"],
        "refuse": ["send Refused", "ended"],
        "reset": ["send Reset", "ended"],
        "fail": VIOLATION,
        "lose": LOST,
        "OPEN": VIOLATION,
        "OPENED": VIOLATION,
        "REFUSED": VIOLATION,
        "RESET": LOST,
        "stray": VIOLATION,
    },
    "client carrying": {
        "finish": ["tell Finished", "ended"],
        "abandon": ["send Reset", "tell Finished", "ended"],
        "reset": ["send Reset", "ended"],
        "fail": VIOLATION,
        "lose": LOST,
        "OPEN": VIOLATION,
        "OPENED": VIOLATION,
        "REFUSED": VIOLATION,
        "RESET": LOST,
        "stray": VIOLATION,
    },
    "over": {},
}
"""What each input does in each state; nothing where it is not named."""

TABLE["server carrying"] = TABLE["client carrying"]


class TableTests(SynchronousTestCase):
    """No order of frames, wishes and time can bring a session into a state that nobody meant."""

    def test_every_input_in_every_state(self) -> None:
        """Each input does what the table says."""
        for state, way in STATES.items():
            for name, act in INPUTS.items():
                notes = Notes()
                machine = lifecycle(notes)
                for step in way:
                    INPUTS[step](machine)
                notes.notes.clear()
                act(machine)
                wanted = TABLE[state].get(name)
                if wanted is None:
                    wanted = TABLE[state].get(name.split(" with ")[0], [])
                self.assertEqual(notes.notes, wanted, (state, name))

    def test_ends_stay_ends(self) -> None:
        """After a session is over, nothing more is sent or told."""
        for state, way in STATES.items():
            for name in INPUTS:
                notes = Notes()
                machine = lifecycle(notes)
                for step in (*way, name):
                    INPUTS[step](machine)
                if "ended" not in notes.notes:
                    continue
                notes.notes.clear()
                for again in INPUTS.values():
                    again(machine)
                self.assertEqual(notes.notes, [], (state, name))

    def test_what_is_told(self) -> None:
        """Codes and sentences reach the application and the peer."""
        told: list[object] = []

        class Full(Notes):
            def send(self, frame: Frame) -> None:
                told.append(frame)

            def tell(self, event: Event) -> None:
                told.append(event)

        client = lifecycle(Full())
        client.open("a", ())
        client.refused_received(404, "no")
        server = lifecycle(Full())
        server.serve()
        server.open_received("a", ())
        server.accept()
        server.reset_received(500, "broken")
        another = lifecycle(Full())
        another.open("b", ())
        another.opened_received(())
        another.finish()
        stray = lifecycle(Full())
        stray.stray_received("DATA before OPEN")
        refusing = lifecycle(Full())
        refusing.serve()
        refusing.open_received("c", ())
        refusing.refuse(502, "nobody there")
        self.assertEqual(
            told,
            [
                Open("a"),
                OpenRefused(404, "no"),
                OpenRequested("a"),
                Opened(),
                Lost("the other side ended the session: broken", 500),
                Open("b"),
                OpenAccepted(),
                Finished(),
                Reset(400, "DATA before OPEN"),
                Lost("the other side broke the protocol: DATA before OPEN", 400),
                OpenRequested("c"),
                Refused(502, "nobody there"),
            ],
        )
