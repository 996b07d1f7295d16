"""The ``wavesync`` command, one module a subcommand."""
