"""The mediator: servers register with it, clients are introduced to them (docs/mediator)."""
