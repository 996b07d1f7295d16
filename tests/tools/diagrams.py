"""Draw the state machines: ``python -m tests.tools.diagrams --write`` renews ``docs/diagrams``.

Each machine gives one dot file, sorted, so that the same machine always gives the same text.  To
draw another machine, add its name and place to :data:`MACHINES`.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

MACHINES: list[tuple[str, str]] = [
    ("agent-registration", "wavesync.agent.registration:build_registration"),
    ("mediator-introduction", "wavesync.mediator.introduction:build_progress"),
    ("mediator-server-leg", "wavesync.mediator.registration:build_server_leg"),
    ("udt-connecting", "wavesync.udt.connecting:connecting"),
    ("udt-punching", "wavesync.udt.punching_machine:punching"),
    ("udt-rendezvous", "wavesync.udt.rendezvous:rendezvous"),
]
"""Name of the drawing, and module and attribute of the built machine."""

DIRECTORY = Path(__file__).parents[2] / "docs" / "diagrams"


def load(place: str) -> Any:
    """:return: the machine at ``module:attribute``."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def transitions(machine: Any) -> list[tuple[str, str, str, str]]:
    """:return: (state, input, next state, outputs) of a built Automat machine, sorted."""
    found = []
    for start, symbol, end, outputs in machine.__automat_automaton__.allTransitions():
        names = [output.name for output in outputs]
        done = ", ".join(name for name in names if not name.startswith("returns("))
        found.append((start.name, symbol, end.name, done))
    return sorted(found)


def initial(machine: Any) -> str:
    """:return: the name of the state that a machine starts in."""
    return str(machine.__automat_automaton__.initialState.name)


def draw(name: str, machine: Any) -> str:
    """:return: the dot text; inputs that a state ignores are left out."""
    lines = [f'digraph "{name}" {{', "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    lines.append(f'  "{initial(machine)}" [penwidth=2];')
    for start, symbol, end, outputs in transitions(machine):
        if start != end or outputs:
            label = f"{symbol}\\n{outputs}" if outputs else symbol
            lines.append(f'  "{start}" -> "{end}" [label="{label}"];')
    lines.append("}")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the drawings.

    :return: 1 if a drawing differs and was not to be written.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.tools.diagrams")
    parser.add_argument("--write", action="store_true", help="renew the drawings")
    write = parser.parse_args(arguments).write
    status = 0
    for name, place in MACHINES:
        path = DIRECTORY / f"{name}.dot"
        text = draw(name, load(place))
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path} is not what {place} looks like", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
