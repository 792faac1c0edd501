"""Runs the charm on one machine without Juju: `./sandbox/juju deploy . -n 3`."""

import sys
from pathlib import Path

# The supervisor's package is what the image carries; its own Python finds it there by itself.
sys.path.append(str(Path(__file__).parents[1] / "rock"))
