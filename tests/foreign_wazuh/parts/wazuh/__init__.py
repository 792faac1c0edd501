"""Not Wazuh's package: another one of its name."""
