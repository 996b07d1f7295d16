"""UDT 4 over UDP, wire-compatible with libudt 4.11 in STREAM mode (docs/udt)."""
