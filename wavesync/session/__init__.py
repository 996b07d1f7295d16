"""Opening a named service over a verified path (docs/session)."""
