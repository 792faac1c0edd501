"""Daemons that keep the facts known of Wazuh 4.14; no part of the real Wazuh."""
