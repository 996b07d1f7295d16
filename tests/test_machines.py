"""Tests of :mod:`wavesync.machines`."""

from typing import Protocol

from automat import NoTransition, TypeMachineBuilder
from twisted.trial.unittest import SynchronousTestCase

from wavesync.machines import with_table


class _Inputs(Protocol):
    """A lamp's button."""

    def press(self) -> str:
        """Somebody presses it."""

    def smash(self) -> str:
        """Somebody breaks it."""


class WithTableTests(SynchronousTestCase):
    """A machine with a table does what it did."""

    def setUp(self) -> None:
        """Make one."""
        builder = TypeMachineBuilder(_Inputs, list)
        off, on = builder.state("off"), builder.state("on")

        @off.upon(_Inputs.press).to(on)
        def _on(inputs: _Inputs, core: list[str]) -> str:
            return "on"

        @on.upon(_Inputs.press).to(off)
        def _off(inputs: _Inputs, core: list[str]) -> str:
            return "off"

        @on.upon(_Inputs.smash).loop()
        def _broken(inputs: _Inputs, core: list[str]) -> str:
            return "sparks"

        plain = builder.build()
        self.searched = 0
        search = plain.__automat_automaton__.outputForInput

        def counting(state: object, name: str) -> object:
            self.searched += 1
            return search(state, name)  # type: ignore[arg-type]

        setattr(plain.__automat_automaton__, "outputForInput", counting)  # noqa: B010
        self.machine = with_table(plain)

    def test_same(self) -> None:
        """Each of several machines goes its way, and none searches for it."""
        one, other = self.machine([]), self.machine([])
        self.assertEqual([one.press(), one.smash(), one.press()], ["on", "sparks", "off"])
        self.assertEqual([other.press(), other.press(), one.press()], ["on", "off", "on"])
        self.assertEqual(self.searched, 0)

    def test_none(self) -> None:
        """What leads nowhere is still an error, Automat's own."""
        self.assertRaises(NoTransition, self.machine([]).smash)
