"""What commands print for people: tables as Juju prints them, and YAML."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLOURS = {
    "active": "green",
    "idle": "green",
    "available": "green",
    "completed": "green",
    "executing": "cyan",
    "maintenance": "yellow",
    "waiting": "yellow",
    "allocating": "yellow",
    "unknown": "yellow",
    "blocked": "red",
    "error": "red",
    "lost": "red",
    "failed": "red",
    "terminated": "red",
}


def status(console: Console, value: Mapping[str, Any]) -> None:
    """Print a model's status: model, applications, units."""
    model, own = value["model"], value["sandbox"]
    _print(
        console,
        ("Model", "Controller", "Cloud/Region", "Version", "Clock", "Timestamp"),
        [
            (
                model["name"],
                model["controller"],
                model["cloud"],
                model["version"],
                f"{own['clock-factor']:g}×",
                time.strftime("%H:%M:%S%z"),
            )
        ],
    )
    applications = value["applications"]
    _print(
        console,
        ("App", "Version", "Status", "Scale", "Charm", "Rev", "Address", "Message"),
        [_application(name, app) for name, app in applications.items()],
    )
    units = [pair for app in applications.values() for pair in app["units"].items()]
    _print(
        console,
        ("Unit", "Workload", "Agent", "Ready", "Address", "Ports", "Message"),
        [_unit(name, unit) for name, unit in units],
    )
    if not value["sandbox"]["workload"].startswith("Wazuh "):
        console.print(f"The workload is {own['workload']}.", style="dim", highlight=False)


def secrets(console: Console, value: Sequence[Mapping[str, Any]]) -> None:
    """Print the list of secrets, without contents."""
    rows = [
        (
            secret["uri"].removeprefix("secret:"),
            secret["label"] or "-",
            secret["owner"],
            secret["rotation"],
            str(secret["revision"]),
        )
        for secret in value
    ]
    _print(console, ("ID", "Name", "Owner", "Rotation", "Revision"), rows)


def plain(value: Any) -> str:
    """Return a value as YAML."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=99).rstrip()


def is_settled(value: Mapping[str, Any]) -> bool:
    """Say whether every unit of every application is active and idle."""
    units = [unit for app in value["applications"].values() for unit in app["units"].values()]
    return bool(units) and all(
        unit["workload-status"]["current"] == "active"
        and unit["juju-status"]["current"] == "idle"
        and unit["ready"]
        for unit in units
    )


def _application(name: str, app: Mapping[str, Any]) -> tuple[str | Text, ...]:
    ready = sum(unit["ready"] for unit in app["units"].values())
    return (
        name,
        app["version"],
        _coloured(app["application-status"]["current"]),
        f"{ready}/{app['scale']}",
        app["charm-name"],
        str(app["charm-rev"]),
        app["address"],
        app["application-status"]["message"],
    )


def _unit(name: str, unit: Mapping[str, Any]) -> tuple[str | Text, ...]:
    return (
        f"{name}{'*' if unit['leader'] else ''}",
        _coloured(unit["workload-status"]["current"]),
        _coloured(unit["juju-status"]["current"]),
        "yes" if unit["ready"] else "no",
        unit["address"],
        ",".join(port.removesuffix("/tcp") for port in unit["ports"]),
        unit["workload-status"]["message"] or unit["juju-status"]["message"],
    )


def _coloured(word: str) -> Text:
    return Text(word, style=_COLOURS.get(word, ""))


def _print(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        table.add_column(head, no_wrap=head != "Message")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    console.print(table)
    console.print()
