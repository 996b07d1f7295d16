"""Finding out what a network lets pass, and what to do about it."""
