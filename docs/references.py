"""The reference pages, made from charmcraft.yaml and from the sentences in the code.

Called by conf.py at each build; what it writes is not kept in Git, so it cannot grow old.
"""

import ast
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
_NOTE = "<!-- Made from {source} by docs/references.py. -->\n"
_STATUSES = {
    "ActiveStatus": "active",
    "BlockedStatus": "blocked",
    "MaintenanceStatus": "maintenance",
    "WaitingStatus": "waiting",
}
_KINDS = {
    "requires": "The charm uses what the other side offers.",
    "provides": "The charm offers something to the other side.",
    "peers": "Between the units of the application; made by Juju itself.",
}


def pages() -> dict[str, str]:
    """Return the content of each page by its file name."""
    declared = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())
    return {
        "options.md": options(declared),
        "actions.md": actions(declared),
        "endpoints.md": endpoints(declared),
        "storage-and-resources.md": storage_and_resources(declared),
        "statuses.md": statuses(),
    }


def write(folder: Path) -> None:
    """Write the pages that differ from what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    found = pages()
    for path in folder.glob("*.md"):
        if path.name not in found:
            path.unlink()
    for name, content in found.items():
        path = folder / name
        if not path.exists() or path.read_text() != content:
            path.write_text(content)


def options(declared: Mapping[str, Any]) -> str:
    """Describe the configuration options."""
    lines = _begin("Options", "charmcraft.yaml")
    lines.append(
        "Set with `juju config wazuh-server NAME=VALUE`. A value that cannot be used changes "
        "nothing that runs: the unit is blocked with `NAME: REASON`.\n"
    )
    for name, option in sorted((declared.get("config") or {}).get("options", {}).items()):
        lines += [f"## `{name}`\n", _facts({"Type": option["type"], "Default": _default(option)})]
        lines += [_text(option["description"])]
    return "\n".join(lines)


def actions(declared: Mapping[str, Any]) -> str:
    """Describe the actions with their parameters."""
    lines = _begin("Actions", "charmcraft.yaml")
    lines.append("Run with `juju run wazuh-server/leader NAME PARAMETER=VALUE`.\n")
    for name, action in sorted((declared.get("actions") or {}).items()):
        lines += [f"## `{name}`\n", _text(action["description"])]
        required = set(action.get("required", ()))
        rows = [
            (
                f"`{parameter}`" + (" (needed)" if parameter in required else ""),
                about.get("type", ""),
                _default(about),
                _line(about.get("description", "")),
            )
            for parameter, about in (action.get("params") or {}).items()
        ]
        if rows:
            lines += [_table(("parameter", "type", "default", "what it is"), rows)]
    return "\n".join(lines)


def endpoints(declared: Mapping[str, Any]) -> str:
    """Describe the relation endpoints."""
    lines = _begin("Endpoints", "charmcraft.yaml")
    lines.append(
        "Relate with `juju integrate wazuh-server:ENDPOINT APPLICATION`. Only the peer relation "
        "is needed, and Juju makes it.\n"
    )
    for kind, about in _KINDS.items():
        found = declared.get(kind) or {}
        if found:
            lines += [f"## {kind.capitalize()}\n", f"{about}\n"]
        for name, endpoint in sorted(found.items()):
            facts = {"Interface": f"`{endpoint['interface']}`"}
            if kind != "peers":
                facts["Optional"] = "yes" if endpoint.get("optional", True) else "no"
            if "limit" in endpoint:
                facts["At most"] = str(endpoint["limit"])
            text = endpoint.get("description", "Who is master, and which secrets hold.")
            lines += [f"### `{name}`\n", _facts(facts), _text(text)]
    return "\n".join(lines)


def storage_and_resources(declared: Mapping[str, Any]) -> str:
    """Describe the volume and the image."""
    lines = _begin("Storage and resources", "charmcraft.yaml")
    mounts = {
        mount["storage"]: f"`{mount['location']}` of the container `{container}`"
        for container, about in declared["containers"].items()
        for mount in about.get("mounts", ())
    }
    for name, storage in sorted((declared.get("storage") or {}).items()):
        facts = {
            "Type": storage["type"],
            "At least": storage.get("minimum-size", ""),
            "Mounted at": mounts.get(name, ""),
        }
        lines += [f"## Storage `{name}`\n", _facts(facts), _text(storage.get("description", ""))]
    for name, resource in sorted((declared.get("resources") or {}).items()):
        source = resource.get("upstream-source")
        facts = {"Type": resource["type"], "Comes from": f"`{source}`" if source else ""}
        lines += [f"## Resource `{name}`\n", _facts(facts), _text(resource["description"])]
    return "\n".join(lines)


def statuses() -> str:
    """List the sentences that a unit's status shows, from the code that says them."""
    lines = _begin("Statuses", "src/ and rock/supervisor/")
    lines.append(
        "What stands in `<…>` is filled in. The worst of all that holds is shown. A status never "
        "stops a service that runs.\n"
    )
    own = sorted(set(_charm_sentences()))
    lines += [_table(("status", "sentence"), [(kind, text) for kind, text in own])]
    lines += ["## Told by the supervisor\n"]
    lines.append(
        "While Wazuh is on its way a unit is waiting, and blocked where it says that it refuses; "
        "these say more than the sentences above.\n"
    )
    told = sorted(set(_supervisor_sentences()))
    lines += [_table(("sentence",), [(text,) for text in told])]
    return "\n".join(lines)


def _charm_sentences() -> Iterator[tuple[str, str]]:
    tables = {"_PHASES": "waiting", "_STUCK": "blocked"}
    for path in sorted((ROOT / "src").glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _called(node) in _STATUSES:
                for text in _texts(node.args):
                    yield _STATUSES[_called(node)], text
            elif isinstance(node, ast.FunctionDef) and _says(path, node):
                for text in _returned(node):
                    serves = text.startswith(("`master of", "`worker of"))
                    yield "active" if serves else "waiting", text
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                yield from _assigned(node, tables)


def _assigned(node: ast.Assign | ast.AnnAssign, tables: Mapping[str, str]) -> Iterator:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if isinstance(target, ast.Name) and target.id in tables and isinstance(node.value, ast.Dict):
        for text in _texts(node.value.values):
            yield tables[target.id], text
    elif isinstance(target, ast.Attribute) and target.attr == "_waiting_for" and node.value:
        for text in _texts([node.value]):
            yield "waiting", text


def _supervisor_sentences() -> Iterator[str]:
    tree = ast.parse((ROOT / "rock/supervisor/machine.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "sentence":
            yield from _texts([node.value])
        elif isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or node) == "str":
            yield from _returned(node)


def _says(path: Path, node: ast.FunctionDef) -> bool:
    """Say whether a function returns sentences of statuses."""
    returned = ast.unparse(node.returns) if node.returns else ""
    return node.name == "missing" or (path.stem == "status" and returned.startswith("str"))


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _returned(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield from _texts([node.value])


def _texts(nodes: list[ast.expr]) -> Iterator[str]:
    """Return the sentences of expressions: literals, f-strings and both arms of a choice."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield _escaped(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [_part(value) for value in node.values]
            if any(" " in part and part[0] != "<" for part in parts):
                yield _escaped("".join(parts))
        elif isinstance(node, ast.IfExp):
            yield from _texts([node.body, node.orelse])
        elif isinstance(node, ast.BoolOp):
            yield from _texts(node.values)


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    name = ast.unparse(node.value) if isinstance(node, ast.FormattedValue) else "…"
    word = name.removesuffix("()").rpartition("(")[2].rpartition(".")[2].strip(")").lower()
    return f"<{word.replace('_', ' ')}>"


def _escaped(text: str) -> str:
    return f"`{text.replace('|', '/')}`"


def _begin(title: str, source: str) -> list[str]:
    return [_NOTE.format(source=source), f"# {title}\n"]


def _text(text: str) -> str:
    return textwrap.dedent(text).strip() + "\n"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _default(about: Mapping[str, Any]) -> str:
    value = about.get("default")
    if value is None:
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"


def _facts(facts: Mapping[str, str]) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in facts.items() if value)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
