"""The rules that analysisd loads, and which of them a line meets."""

import json
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import frames
from .configuration import ConfigurationError, Node, Settings, parse
from .home import Home, scaled


@dataclass(frozen=True)
class Rule:
    """A rule, as far as the stand-in understands rules: texts, expressions, fields, parents."""

    id: int
    level: int
    description: str
    groups: "tuple[str, ...]"
    texts: "tuple[str, ...]"
    expressions: "tuple[re.Pattern[str], ...]"
    fields: "tuple[tuple[str, re.Pattern[str]], ...]"
    """Of what the JSON decoder makes of a line."""
    parents: "tuple[int, ...]"

    def fits(self, line: str) -> bool:
        """Return whether the rule's own conditions hold."""
        return (
            all(_text_in(text, line) for text in self.texts)
            and all(expression.search(line) for expression in self.expressions)
            and (not self.fields or self._has_fields(_decode(line)))
        )

    def _has_fields(self, found: "dict[str, str]") -> bool:
        return all(
            name in found and expression.search(found[name]) for name, expression in self.fields
        )


def _decode(line: str) -> "dict[str, str]":
    """Flatten JSON as the JSON decoder does: `a.b` for a field within a field."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    found: dict[str, str] = {}
    left = list(value.items()) if isinstance(value, dict) else []
    while left:
        name, inner = left.pop()
        if isinstance(inner, dict):
            left += [(f"{name}.{key}", deeper) for key, deeper in inner.items()]
        else:
            found[name] = inner if isinstance(inner, str) else json.dumps(inner)
    return found


def _text_in(text: str, line: str) -> bool:
    return any(_piece_in(piece, line) for piece in text.split("|") if piece)


def _piece_in(piece: str, line: str) -> bool:
    if piece.startswith("^"):
        return line.startswith(piece[1:])
    return line.endswith(piece[:-1]) if piece.endswith("$") else piece in line


def load(home: Path, settings: Settings) -> "dict[int, Rule]":
    """Load the rules of every directory <ruleset> names; none without that block."""
    rules: dict[int, Rule] = {}
    for block in settings.all("ruleset"):
        excluded = {node.text.strip() for node in block.all("rule_exclude")}
        for folder in block.all("rule_dir"):
            for path in sorted((home / folder.text.strip()).glob("*.xml")):
                if str(path.relative_to(home)) not in excluded:
                    rules.update({rule.id: rule for rule in read_rules(path, home)})
        for folder in block.all("decoder_dir"):
            for path in sorted((home / folder.text.strip()).glob("*.xml")):
                _read(path, home)
    return rules


def _read(path: Path, home: Path) -> Node:
    name = str(path.relative_to(home))
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace"), name)
    except ConfigurationError as error:
        raise ConfigurationError(f"(1220): Error loading the rules: '{name}'. {error}") from None


def read_rules(path: Path, home: Path) -> "Iterable[Rule]":
    """Read a rules file; raise ConfigurationError when analysisd would refuse it."""
    name = str(path.relative_to(home))
    for group in _read(path, home).children:
        if group.tag not in ("group", "var"):
            raise ConfigurationError(
                f"(1220): Error loading the rules: '{name}'. Invalid root element '{group.tag}'."
            )
        groups = tuple(word for word in group.attributes.get("name", "").split(",") if word)
        for node in group.all("rule"):
            yield _rule(node, groups, name)


def _rule(node: Node, groups: "tuple[str, ...]", name: str) -> Rule:
    identity, level = node.attributes.get("id", ""), node.attributes.get("level", "")
    if not (identity.isdigit() and level.isdigit() and int(level) <= 16):
        raise ConfigurationError(
            f"(1220): Error loading the rules: '{name}'. "
            f"Invalid configuration of rule '{identity}'."
        )
    try:
        expressions = tuple(
            re.compile(child.text.strip())
            for word in ("regex", "pcre2")
            for child in node.all(word)
        )
    except re.error as error:
        raise ConfigurationError(
            f"(1220): Error loading the rules: '{name}'. "
            f"Invalid regex of rule '{identity}': {error}"
        ) from None
    parents = tuple(
        int(word) for child in node.all("if_sid") for word in re.findall(r"\d+", child.text)
    )
    return Rule(
        int(identity),
        int(level),
        node.value("description"),
        groups,
        tuple(child.text.strip() for child in node.all("match")),
        expressions,
        tuple(
            (child.attributes.get("name", ""), _field(child.text.strip()))
            for child in node.all("field")
        ),
        parents,
    )


def _field(text: str) -> "re.Pattern[str]":
    """Take the expression of a field; of Wazuh's own syntax what Python's has not is a text."""
    try:
        return re.compile(text)
    except re.error:
        return re.compile(re.escape(text))


def meet(rules: "dict[int, Rule]", line: str) -> "Rule | None":
    """Return the rule a line meets: the one furthest down, then of the highest level."""
    best: tuple[int, int, int] | None = None
    for rule in rules.values():
        depth = _depth(rules, rule, line, frozenset())
        if depth is not None and (rule.texts or rule.expressions or rule.fields or rule.parents):
            best = max(best or (0, 0, 0), (depth, rule.level, rule.id))
    return rules[best[2]] if best else None


def _depth(
    rules: "dict[int, Rule]", rule: Rule, line: str, seen: "frozenset[int]"
) -> "int | None":
    if rule.id in seen or not rule.fits(line):
        return None
    if not rule.parents:
        return 1
    depths = [
        _depth(rules, rules[parent], line, seen | {rule.id})
        for parent in rule.parents
        if parent in rules
    ]
    found = [depth for depth in depths if depth is not None]
    return 1 + max(found) if found else None


def ask_reload(home: Home) -> dict:
    """Ask the analysisd of this node to load its rules anew, as its API does."""
    message = {"version": 1, "origin": {"module": "api"}, "command": "reload-ruleset"}
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(scaled(20))
            connection.connect(str(home / "queue/sockets/analysis"))
            frames.send_sized(connection, json.dumps(message).encode())
            return json.loads(frames.receive_sized(connection))
    except OSError as error:
        return {"error": 1, "message": "due", "data": [f"analysisd does not answer: {error}"]}
