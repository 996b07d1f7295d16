"""What ``twist`` and ``twistd`` find: wavesync's services."""

from twisted.application.service import ServiceMaker

wavesync_mediator = ServiceMaker(
    "wavesync mediator",
    "wavesync.mediator.service",
    "Introduces clients to servers behind NAT (wavesync).",
    "wavesync-mediator",
)

wavesync_agent = ServiceMaker(
    "wavesync agent",
    "wavesync.agent.service",
    "Lets clients reach named services of this site behind NAT (wavesync).",
    "wavesync-agent",
)

wavesync_relay = ServiceMaker(
    "wavesync relay",
    "wavesync.relay.service",
    "Passes bytes between clients and servers that have no direct path (wavesync).",
    "wavesync-relay",
)
