"""Finding servers on the same network without any mediator (docs/lan)."""
