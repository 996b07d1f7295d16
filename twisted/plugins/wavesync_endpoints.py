from wavesync.udt.endpoints import UDTClientParser, UDTServerParser

udt_client = UDTClientParser()
udt_server = UDTServerParser()
