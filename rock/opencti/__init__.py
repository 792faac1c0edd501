"""Looks up in OpenCTI what an alert names, for Wazuh's integrator.

Python's standard library only; runs on the Python 3.10 that Wazuh brings.
"""
