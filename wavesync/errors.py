"""The exceptions that cross package borders, each with the exit status a command ends with.

Every one carries a sentence for people; none is ever shown as a traceback by a command.
"""

__all__ = [
    "ConnectFailed",
    "NotAllowed",
    "SettingsError",
    "WavesyncError",
]


class WavesyncError(Exception):
    """Something went wrong that a person can be told in one sentence.

    :cvar exit_status: what a command that ends with this error exits with.
    """

    exit_status = 1


class ConnectFailed(WavesyncError):
    """No path to the target worked; the sentence says why (exit status 1)."""


class SettingsError(WavesyncError):
    """A setting, argument or file cannot be used as it stands (exit status 2)."""

    exit_status = 2


class NotAllowed(WavesyncError):
    """Credentials are wrong, expired, revoked or for another system (exit status 3)."""

    exit_status = 3
