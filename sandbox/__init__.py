"""Runs the charm on one machine without Juju: `./sandbox/juju deploy . -n 3`."""
