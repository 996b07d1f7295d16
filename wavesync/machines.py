"""State machines of Automat that find their transitions by a table."""

from typing import Any, TypeVar

from automat import TypeMachine

__all__ = ["with_table"]

_Inputs = TypeVar("_Inputs")
_Core = TypeVar("_Core")


def with_table(machine: TypeMachine[_Inputs, _Core]) -> TypeMachine[_Inputs, _Core]:
    """Let a table tell what an input leads to.

    Automat looks through all transitions for it, which takes more than all else that is done here.

    :return: the same machine.
    """
    automaton = machine.__automat_automaton__
    table = {
        (id(before), name): (after, outputs)
        for before, name, after, outputs in automaton.allTransitions()
    }
    search = automaton.outputForInput

    def find(state: Any, name: str) -> Any:
        return table.get((id(state), name)) or search(state, name)

    setattr(automaton, "outputForInput", find)  # noqa: B010
    return machine
