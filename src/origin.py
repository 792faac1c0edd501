"""What Juju says of the configuration repository: four options and the model's proxies.

Frozen values; what costs an import is done only when something changed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from src.deploy_key import KEY, DeployKey, known_hosts_problem

if TYPE_CHECKING:
    from src.repository import Source

REPOSITORY = "custom-config-repository"
SSH_KEY = "custom-config-ssh-key"
KNOWN_HOSTS = "custom-config-known-hosts"
OPTIONS = (REPOSITORY, SSH_KEY, KNOWN_HOSTS)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The model's proxies as Juju puts them into a hook's environment; may hold passwords."""

    http: str = field(default="", repr=False)
    https: str = field(default="", repr=False)
    no_proxy: str = ""

    def problems(self) -> dict[str, str]:
        """Tell which of the model's options is no proxy that Git can use."""
        named = {"juju-http-proxy": self.http, "juju-https-proxy": self.https}
        reason = "not the address of an http or https proxy (a model option)"
        return {name: reason for name, text in named.items() if text and not _is_proxy(text)}


def _is_proxy(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def proxies(environment: Mapping[str, str] = os.environ) -> Proxies:
    """Read the proxies that Juju tells every hook of."""
    return Proxies(
        environment.get("JUJU_CHARM_HTTP_PROXY", ""),
        environment.get("JUJU_CHARM_HTTPS_PROXY", ""),
        environment.get("JUJU_CHARM_NO_PROXY", ""),
    )


@dataclass(frozen=True, slots=True)
class Origin:
    """The options' texts, good or bad. Nothing else is looked at while `address` is empty."""

    address: str = ""
    known_hosts: str = ""
    key_option: str = ""
    """The id of the secret of the option `custom-config-ssh-key`; empty when it is not set."""
    key: DeployKey = field(default_factory=DeployKey)
    proxies: Proxies = field(default_factory=Proxies)

    def identity(self) -> list[str]:
        """Return all that makes one wish different from another; holds secrets: digest it."""
        if not self.address:
            return []
        via = self.proxies
        return [
            self.address,
            self.known_hosts,
            self.key_option,
            self.key.value or "",
            self.key.problem or "",
            *(via.http, via.https, via.no_proxy),
        ]

    def read(self) -> "Reading":
        """Check everything; the reasons are by option."""
        if not self.address:
            return Reading()
        from src.repository import Source

        try:
            source = Source.parse(self.address)
        except ValueError as reason:
            return Reading(problems={REPOSITORY: str(reason)})
        problems = self._ssh_problems() if source.scheme == "ssh" else self.proxies.problems()
        return Reading(None if problems else source, problems)

    def _ssh_problems(self) -> dict[str, str]:
        hosts = "git+ssh needs the host's public key, as ssh-keyscan shows it (compare it first)"
        key = f"git+ssh needs a user secret whose key `{KEY}` holds the private key"
        reasons = {
            KNOWN_HOSTS: known_hosts_problem(self.known_hosts) if self.known_hosts else hosts,
            SSH_KEY: self.key.problem if self.key_option else key,
        }
        return {option: reason for option, reason in reasons.items() if reason}


@dataclass(frozen=True, slots=True)
class Reading:
    """The address to fetch from, if any, and what is wrong with which option."""

    source: "Source | None" = None
    problems: Mapping[str, str] = field(default_factory=dict)
