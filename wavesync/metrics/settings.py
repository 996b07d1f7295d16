"""Where a service shows its figures."""

from wavesync.errors import SettingsError
from wavesync.settings import Section
from wavesync.signalling.listening import parse_listen

__all__ = ["AGENT_PORT", "MEDIATOR_PORT", "RELAY_PORT", "MetricsSettings"]

MEDIATOR_PORT = 9345
"""TCP port of a mediator's figures."""

AGENT_PORT = 9346
"""TCP port of an agent's."""

RELAY_PORT = 9356
"""TCP port of a relay's."""


class MetricsSettings(Section, frozen=True):
    """The table ``metrics``; each role has a default of its own."""

    listen: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        try:
            if self.listen:
                parse_listen(self.listen)
        except SettingsError as error:
            raise ValueError(str(error)) from None
