"""Runs one unit's Wazuh: processes, role, keys, users, fence and health.

Only the standard library, and Python 3.10 to 3.12: the image runs it with the
Python that Wazuh embeds.
"""
