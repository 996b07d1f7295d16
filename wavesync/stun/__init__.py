"""STUN (RFC 8489): codec, transactions, stream framing, Binding client and server."""
