"""Port mapping: has the router forward ports to this host (PCP, NAT-PMP, UPnP-IGD); ``docs/portmap.rst``."""
