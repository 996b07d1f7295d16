"""Reach a server behind NAT or a firewall from a client behind another, with no port forwarding."""
