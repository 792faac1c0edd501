"""How a host becomes an agent: the command that people copy. Pure."""


def tell(address: str, secret_id: str) -> dict[str, str]:
    """Return the action's result: address, command, and where the password is found.

    The command asks for the password, so that it stands in no history and no list of processes;
    agent-auth reads it from this file (wazuh/src os_auth/main-client.c).
    """
    host = f"[{address}]" if ":" in address else address
    command = (
        "sudo sh -c 'umask 077; IFS= read -r word; "
        'echo "$word" > /var/ossec/etc/authd.pass\' && '
        f"sudo /var/ossec/bin/agent-auth -m {address} && "
        f"sudo sed -i 's|<address>.*</address>|<address>{address}</address>|' "
        "/var/ossec/etc/ossec.conf && sudo systemctl restart wazuh-agent"
    )
    return {
        "address": address,
        "api": f"https://{host}:55000",
        "command": command,
        "password": f"juju show-secret --reveal {secret_id}",
    }
