"""Known bugs, each of which the suite has to find: `python -m tests.mutations`."""
