"""What can be said of a NAT's behaviour, in the words of RFC 4787."""

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from wavesync.interfaces import Address

__all__ = ["Behaviour", "Dependence", "Lifetime"]


class Dependence(enum.Enum):
    """On what of the remote a NAT's mapping or filtering depends (RFC 4787 sections 4.1, 5)."""

    ENDPOINT_INDEPENDENT = "Endpoint-Independent"
    ADDRESS_DEPENDENT = "Address-Dependent"
    ADDRESS_AND_PORT_DEPENDENT = "Address and Port-Dependent"


class Lifetime(NamedTuple):
    """How long a mapping lives through which nothing is sent.

    :ivar alive: seconds after which it was still there.
    :ivar gone: seconds after which it was not; None if it outlived all that was tried.
    """

    alive: float
    gone: float | None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a NAT behaves, in the words of RFC 4787; None is "unknown".

    :ivar mapped: our address as the server's addresses saw it: the first, then where there are
        answers the second with the first port, the second with the second port.
    :ivar translated: whether that is another address than our own.
    :ivar mapping: its mapping; Endpoint-Independent as well where nothing is translated.
    :ivar filtering: its filtering, or that of a firewall.
    :ivar hairpinning: whether what one port of ours sends to the outside address of another
        arrives there, when both send.
    :ivar lifetime: how long an unused mapping lives.
    :ivar unknown: for each of these fields that is None: a sentence that says why.
    """

    mapped: tuple[Address, ...] = ()
    translated: bool | None = None
    mapping: Dependence | None = None
    filtering: Dependence | None = None
    hairpinning: bool | None = None
    lifetime: Lifetime | None = None
    unknown: dict[str, str] = field(default_factory=dict)
