"""What ``clientFromString`` and ``serverFromString`` find: wavesync's endpoints."""

from wavesync.endpoints import WavesyncClientParser, WavesyncServerParser
from wavesync.udt.endpoints import UDTClientParser, UDTServerParser

udt_client = UDTClientParser()
udt_server = UDTServerParser()
wavesync_client = WavesyncClientParser()
wavesync_server = WavesyncServerParser()
