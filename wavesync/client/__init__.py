"""The client: candidates, the race of all paths, and the connector that reuses holes."""
