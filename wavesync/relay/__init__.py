"""The relay: joins a client with a server that waits for it."""
