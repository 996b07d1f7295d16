"""What agents, clients and mediators say to each other: STUN messages of our own, typed."""
