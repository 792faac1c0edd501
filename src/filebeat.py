"""Filebeat's configuration: which alerts go where, and how the other side is known. Pure."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.secrets import Indexer


def configuration(indexer: "Indexer", authority: str) -> str:
    """Return the text of filebeat.yml, as JSON, which is YAML; `authority` is a file.

    Wazuh's own (extensions/filebeat/7.x/filebeat.yml) but for the output. The system call is one
    that newer C libraries make and Filebeat 7.10 does not know of: without it it crashes.
    """
    value = {
        "filebeat.modules": [
            {"module": "wazuh", "alerts": {"enabled": True}, "archives": {"enabled": False}}
        ],
        "logging.level": "warning",
        "logging.metrics.enabled": False,
        "output.elasticsearch": {
            "hosts": list(indexer.hosts),
            "username": _literal(indexer.username),
            "password": _literal(indexer.password),
            "ssl.certificate_authorities": [authority],
            "ssl.verification_mode": "full",
        },
        "seccomp": {
            "default_action": "allow",
            "syscalls": [{"action": "allow", "names": ["rseq"]}],
        },
        "setup.ilm.enabled": False,
        "setup.template.json.enabled": True,
        "setup.template.json.name": "wazuh",
        "setup.template.json.path": "/etc/filebeat/wazuh-template.json",
        "setup.template.overwrite": True,
    }
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _literal(text: str) -> str:
    """Write a text that Filebeat takes as it is: `${x}` names a variable, `$$` is one `$`.

    Tried with the library that reads it, github.com/elastic/go-ucfg 0.8.3.
    """
    return text.replace("$", "$$")
