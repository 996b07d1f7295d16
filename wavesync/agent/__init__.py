"""The server agent: registers beside a service and accepts verified sessions for it."""
