"""The stand-in's part of `wazuh.core`."""
