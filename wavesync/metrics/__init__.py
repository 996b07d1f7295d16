"""What operators see of a running service: figures for Prometheus, and whether it is well."""
