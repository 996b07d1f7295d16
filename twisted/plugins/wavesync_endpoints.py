"""What ``clientFromString`` and ``serverFromString`` find: wavesync's endpoints."""

from wavesync.parsers import LazyClientParser, LazyServerParser

udt_client = LazyClientParser("udt", "wavesync.udt.endpoints:UDTClientParser")
udt_server = LazyServerParser("udt", "wavesync.udt.endpoints:UDTServerParser")
wavesync_client = LazyClientParser("wavesync", "wavesync.endpoints:WavesyncClientParser")
wavesync_server = LazyServerParser("wavesync", "wavesync.endpoints:WavesyncServerParser")
