"""Name and version, as the real package states them."""

__version__ = "4.14.7"
__wazuh_name__ = "Wazuh (stand-in)"
