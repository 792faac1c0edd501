"""Fetches rules, decoders and lists from a Git repository, as a user of its own.

Python's standard library only; runs on the Python 3.10 that Wazuh brings.
"""
