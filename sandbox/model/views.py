"""Values from which `juju status`, `show-unit` and the Service are printed."""

from typing import Any

from sandbox.model import leadership, pods
from sandbox.model.entities import Action, Application, Status, Unit
from sandbox.model.values import ActionRecord, PodView, ServiceView
from sandbox.model.world import World

SEVERITY = ("error", "blocked", "waiting", "maintenance", "active", "terminated", "unknown")


def pod_view(world: World, unit: Unit) -> PodView:
    """Give what a unit's pod must be like."""
    charm = world.apps[unit.app].charm
    mounts = {
        container: {
            spec.mounts[container]: storage
            for storage in sorted(unit.volumes)
            for spec in [charm.storages[storage.partition("/")[0]]]
            if container in spec.mounts
        }
        for container in charm.containers
    }
    phase = unit.pod.phase
    return PodView(
        unit=unit.name,
        uid=unit.pod.uid,
        address=unit.pod.address,
        phase="pending" if phase == "absent" else phase,
        charm_boot=unit.pod.charm_boot,
        containers={one.name: one.boot for one in unit.pod.containers.values()},
        volumes={volume.storage: volume.name for volume in unit.volumes.values()},
        mounts=mounts,
        charm_revision=unit.charm_revision,
        ready=pods.ready(unit),
    )


def service(world: World, app: Application) -> ServiceView:
    """Give the Service: ports of all units (65535 before any), endpoints of ready pods (R38)."""
    units = world.units_of(app.name)
    opened = {int(port.partition("/")[0]) for unit in units for port in unit.ports}
    there = [unit for unit in units if unit.pod.phase in {"running", "terminating"}]
    return ServiceView(
        app=app.name,
        address=app.address,
        ports=tuple(sorted(opened)) or (65535,),
        endpoints=tuple(unit.pod.address for unit in there if pods.ready(unit)),
        headless={unit.name.replace("/", "-"): unit.pod.address for unit in there},
    )


def status(world: World) -> dict[str, Any]:
    """Give the value of `juju status --format json`; `since` is seconds of the model's clock."""
    return {
        "model": {
            "name": world.name,
            "type": "caas",
            "controller": "sandbox",
            "cloud": "sandbox",
            "version": "4.0.15" if world.behaviour.commit_mode == "4" else "3.6.11",
            "model-status": {"current": "available", "since": 0.0},
        },
        "applications": {name: _application(world, app) for name, app in world.apps.items()},
    }


def _application(world: World, app: Application) -> dict[str, Any]:
    units = world.units_of(app.name)
    return {
        "charm": app.charm.name,
        "charm-name": app.charm.name,
        "charm-rev": app.charm.revision,
        "scale": app.scale,
        "address": app.address,
        "exposed": False,
        "life": "dying" if app.removing else "",
        "version": app.version,
        "application-status": _shown(_application_status(app, units)),
        "relations": _relations(world, app),
        "units": {unit.name: _unit(world, unit) for unit in units},
    }


def _application_status(app: Application, units: list[Unit]) -> Status:
    """Give what the leader set, or the worst of the units'."""
    if app.status.status != "unset":
        return app.status
    shown = [_workload(unit) for unit in units]
    return min(
        shown,
        key=lambda one: SEVERITY.index(one.status) if one.status in SEVERITY else len(SEVERITY),
        default=Status("unknown", ""),
    )


def _relations(world: World, app: Application) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for relation in world.relations_of(app.name):
        found.setdefault(relation.endpoints[app.name], []).append(
            {
                "related-application": relation.other(app.name),
                "interface": relation.interface,
                "scope": "global",
                "id": relation.id,
            }
        )
    return found


def _unit(world: World, unit: Unit) -> dict[str, Any]:
    return {
        "workload-status": _shown(_workload(unit)),
        "juju-status": _shown(_agent(world, unit)),
        "leader": leadership.holds(world, unit),
        "address": unit.pod.address if unit.pod.phase != "pending" else "",
        "ports": sorted(unit.ports),
        "life": "" if unit.life == "alive" else unit.life,
        "ready": pods.ready(unit),
    }


def _workload(unit: Unit) -> Status:
    if unit.pending is None:
        return unit.status
    return Status("error", f'hook failed: "{unit.pending.name}"', unit.status.since)


def _agent(world: World, unit: Unit) -> Status:
    if not unit.pod.reachable or unit.pod.frozen or unit.pod.phase == "absent":
        return Status("lost", "agent is not communicating with the server", unit.agent.since)
    if unit.in_flight is not None:
        return Status("executing", f"running {world.hooks[unit.in_flight].spec.name} hook")
    return Status("idle" if unit.installed else "allocating", "", unit.agent.since)


def _shown(status: Status) -> dict[str, Any]:
    return {"current": status.status, "message": status.message, "since": status.since}


def show_unit(world: World, unit: Unit) -> dict[str, Any]:
    """Give the value of `juju show-unit`, with databags as this unit may read them."""
    return {
        unit.name: {
            "leader": leadership.holds(world, unit),
            "life": unit.life,
            "address": unit.pod.address,
            "charm-revision": unit.charm_revision,
            "opened-ports": sorted(unit.ports),
            "relation-info": [
                {
                    "relation-id": relation.id,
                    "endpoint": relation.endpoints[unit.app],
                    "related-endpoint": relation.endpoints[relation.other(unit.app)],
                    "application-data": dict(relation.apps[relation.other(unit.app)].data),
                    "local-unit": {
                        "in-scope": unit.name in relation.scope,
                        "data": dict(relation.units[unit.name].data)
                        if unit.name in relation.units
                        else {},
                    },
                    "related-units": {
                        name: {"in-scope": name in relation.scope, "data": dict(bag.data)}
                        for name, bag in sorted(relation.units.items())
                        if name != unit.name and name.partition("/")[0] == relation.other(unit.app)
                    },
                }
                for relation in world.relations_of(unit.app)
            ],
        }
    }


def action(record: Action) -> ActionRecord:
    """Give an action's state."""
    return ActionRecord(
        id=record.id,
        unit=record.unit,
        name=record.name,
        params=dict(record.params),
        status=record.status,
        message=record.message,
        results=dict(record.results),
        log=tuple(record.log),
        enqueued=record.enqueued,
        completed=record.completed,
    )
