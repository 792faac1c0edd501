"""Read what the model needs from a charmcraft.yaml."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from sandbox.model.entities import CharmSpec, Endpoint, Option, StorageSpec
from sandbox.model.errors import CommandError

ROLES: tuple[Literal["requires", "provides", "peers"], ...] = ("requires", "provides", "peers")
SECRET_URI = re.compile(r"^secret:[0-9a-v]{20}$")


def parse(metadata: Mapping[str, Any], revision: int = 0) -> CharmSpec:
    """Give the charm's specification; `metadata` is charmcraft.yaml as a mapping."""
    options = (metadata.get("config") or {}).get("options") or {}
    return CharmSpec(
        name=metadata["name"],
        revision=revision,
        options={
            name: Option(name, option.get("type", "string"), option.get("default"))
            for name, option in options.items()
        },
        endpoints=_endpoints(metadata),
        containers=tuple(metadata.get("containers") or {}),
        storages=_storages(metadata),
        actions={name: value or {} for name, value in (metadata.get("actions") or {}).items()},
        raw=dict(metadata),
    )


def _endpoints(metadata: Mapping[str, Any]) -> dict[str, Endpoint]:
    return {
        name: Endpoint(name, value["interface"], role)
        for role in ROLES
        for name, value in (metadata.get(role) or {}).items()
    }


def _storages(metadata: Mapping[str, Any]) -> dict[str, StorageSpec]:
    containers = metadata.get("containers") or {}
    return {
        name: StorageSpec(
            name,
            value.get("type", "filesystem"),
            {
                container: mount["location"]
                for container, settings in containers.items()
                for mount in (settings or {}).get("mounts") or []
                if mount["storage"] == name
            },
        )
        for name, value in (metadata.get("storage") or {}).items()
    }


def option_value(spec: CharmSpec, name: str, value: Any) -> Any:
    """Give the option's value in its type; Juju checks nothing but the type (R40)."""
    option = spec.options.get(name)
    if option is None:
        raise CommandError(f'unknown option "{name}"')
    try:
        return _converted(option, value)
    except ValueError as error:
        raise CommandError(
            f"option {name!r} expected {option.type}, got {value!r}".replace("'", '"')
        ) from error


def _converted(option: Option, value: Any) -> Any:
    text = str(value)
    if option.type == "boolean":
        if text.lower() not in {"true", "false"}:
            raise ValueError(text)
        return text.lower() == "true"
    if option.type == "int":
        return int(text)
    if option.type == "float":
        return float(text)
    if option.type == "secret" and text and not SECRET_URI.match(text):
        raise ValueError(text)
    return text
