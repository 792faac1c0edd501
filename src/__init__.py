"""The charm: `charm.py` alone knows events, the other modules know less and less."""
