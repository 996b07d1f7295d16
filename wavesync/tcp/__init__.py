"""TCP from local ports that may be used again: legs whose port is known, and simultaneous opens."""
