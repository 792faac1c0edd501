"""The endpoint `wazuh-api`: the interface wazuh_api_client v0, for dashboards and scripts.

Our side, as the deployed requirers read it: `endpoint` (a URL) and `user_credentials_secret`, the
id of a Juju secret with `user` and `password` (wazuh-server-operator lib wazuh_api v0); the id has
this model's in it, for a requirer in another one.
Published schema and README have two other spellings, which no requirer reads.
"""

from src import cluster

USER = "wazuh-dashboard"
"""Reads everything and changes nothing."""
PORT = 55000


def wanted(names: cluster.Names, secret_id: str) -> dict[str, str]:
    """Return our side; the password is in the secret alone."""
    return {
        "endpoint": f"https://{names.service}:{PORT}",
        "user_credentials_secret": secret_id,
    }
