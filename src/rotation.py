"""Rotation of the application's secrets: from one content to the next. Pure.

A rotated secret holds what is published under its plain keys and, while it is rotated, what is to
follow under the same keys after `next-`. The order is always the same: the leader writes `next`;
units act on it in later hooks, when Juju has it; the master's supervisor reports that it is in
force; the leader promotes it. So wherever a hook is killed, what Wazuh takes is in Juju.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Content = dict[str, str]

CLUSTER_KEY = "cluster-key"
API_USERS = "api-users"
API_IDENTITY = "api-identity"
ENROLMENT = "enrolment-password"

NEXT = "next-"
PARTS = {
    CLUSTER_KEY: "wazuh-clusterd",
    API_USERS: "users",
    API_IDENTITY: "wazuh-apid",
    ENROLMENT: "wazuh-authd",
}
"""The secrets that are rotated, with the generation of `desired.json` that shows each in force."""
ALL = "all"
NEVER = "never"
POLICIES = (NEVER, "hourly", "daily", "weekly", "monthly", "quarterly", "yearly")
"""Juju's own words (ops.SecretRotate)."""


class RefusedError(ValueError):
    """A rotation that does not begin; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a wish to rotate: the secrets begun, and why others are left alone."""

    begin: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def results(self) -> dict[str, str]:
        """Return what an action says of it."""
        left = {"left-alone": "; ".join(self.left)} if self.left else {}
        return {"rotating": ", ".join(self.begin), **left}


def is_under_way(content: Mapping[str, str]) -> bool:
    """Tell whether the secret holds something that is not in force yet, or not known to be."""
    return any(key.startswith(NEXT) for key in content)


def begin(content: Content, fresh: Mapping[str, str]) -> Content:
    """Add what is to come; nothing changes while another rotation is under way."""
    if is_under_way(content):
        return content
    return content | {f"{NEXT}{key}": value for key, value in fresh.items()}


def effective(content: Mapping[str, str]) -> Content:
    """Return what units are to bring into force: what is to come, where there is something."""
    plain = {key: value for key, value in content.items() if not key.startswith(NEXT)}
    coming = {
        key.removeprefix(NEXT): value for key, value in content.items() if key.startswith(NEXT)
    }
    return plain | coming


def promote(content: Content) -> Content:
    """Publish what has come into force."""
    return effective(content)


def answer(
    asked: Sequence[str], contents: Mapping[str, Content], *, set_by_option: str | None
) -> Answer:
    """Decide which of the secrets asked for begin; `set_by_option` names what sets enrolment's."""
    left = {label: _obstacle(label, contents, set_by_option) for label in asked}
    return Answer(
        begin=tuple(label for label, reason in left.items() if reason is None),
        left=tuple(f"{label}: {reason}" for label, reason in left.items() if reason),
    )


def _obstacle(
    label: str, contents: Mapping[str, Content], set_by_option: str | None
) -> str | None:
    if label == ENROLMENT and set_by_option:
        return f"the option {set_by_option} sets it; give that secret a new revision instead"
    if label not in contents:
        return "it has not been made yet"
    if is_under_way(contents[label]):
        return "a rotation is under way and ends by itself"
    return None


def labels(wish: str) -> tuple[str, ...]:
    """Return the secrets that a person's wish means. Raises RefusedError."""
    if wish == ALL:
        return tuple(PARTS)
    if wish not in PARTS:
        raise RefusedError(f"secret: one of {', '.join((*PARTS, ALL))}")
    return (wish,)


def policy_problem(text: str) -> str | None:
    """Tell why a text is no rotation policy."""
    return None if text in POLICIES else f"one of {', '.join(POLICIES)}"
