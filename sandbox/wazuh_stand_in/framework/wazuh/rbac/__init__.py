"""The stand-in's API users."""
