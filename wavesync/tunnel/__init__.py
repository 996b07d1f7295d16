"""A byte stream to a mediator or a relay by whatever HTTP passes (docs/tunnel)."""
