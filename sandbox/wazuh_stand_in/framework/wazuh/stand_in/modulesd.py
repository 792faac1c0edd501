"""modulesd: of all its modules only the indexer connector, which sends one state to tell of it."""

import base64
import http.client
import json
import socket
import ssl
import urllib.parse

from . import configuration, indexer_store
from .home import Home, scaled
from .process import stopping

_AGAIN = 10.0


def check(_home: Home) -> bool:
    """Let everything pass: what is wrong in a module's settings ends none of the others."""
    return True


def serve(home: Home) -> int:
    """Send the state until it is taken, then wait for the end."""
    settings = configuration.read(home / "etc/ossec.conf")
    block = settings.find("indexer")
    if block is not None and block.value("enabled", "yes") == "yes":
        _connect(home, block)
    stopping.wait()
    return 0


def _connect(home: Home, block: configuration.Node) -> None:
    """Send with what the store holds now: it is read once (indexerConnector.cpp)."""
    found = indexer_store.read(home).get("indexer", {})
    if not found:
        home.log(
            "WARNING", "No username and password found in the keystore, using default values."
        )
    pair = f"{found.get('username', 'admin')}:{found.get('password', 'admin')}"
    hosts = block.find("hosts")
    urls = [host.text.strip() for host in hosts.all("host")] if hosts else []
    while not stopping.is_set():
        if any(_send(home, url, pair, block) for url in urls):
            home.log("INFO", "IndexerConnector initialized successfully for index: stand-in.")
            return
        home.log("WARNING", "IndexerConnector initialization failed, retrying.")
        stopping.wait(scaled(_AGAIN))


def _send(_home: Home, url: str, pair: str, block: configuration.Node) -> bool:
    parts = urllib.parse.urlsplit(url)
    state = {"agent": {"id": "000"}, "host": socket.gethostname()}
    body = '{"create": {"_index": "wazuh-states-stand-in"}}\n' + json.dumps(state) + "\n"
    code = base64.b64encode(pair.encode()).decode()
    try:
        context = ssl.create_default_context(cafile=_authority(block))
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=5, context=context
        )
        connection.request("POST", "/_bulk", body, {"Authorization": f"Basic {code}"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def _authority(block: configuration.Node) -> str:
    """Return the file of the authority; the real one does without verification nowhere."""
    found = block.find("ssl")
    authorities = found.find("certificate_authorities") if found else None
    return authorities.value("ca") if authorities else ""
