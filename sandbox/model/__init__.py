"""Juju's model, without I/O: applications, units, leases, relations, secrets, hooks, pods."""
