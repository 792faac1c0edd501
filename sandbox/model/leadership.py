"""Leases: 60 s, renewed every 30 s; no hook tells a unit that it lost one (R12–R18)."""

from sandbox.model.entities import Application, Unit
from sandbox.model.world import World


def holds(world: World, unit: Unit) -> bool:
    """Whether the unit holds the lease now, whatever it believes."""
    return holder(world, unit.app) == unit.name


def holder(world: World, app: str) -> str | None:
    """Give the leader of an application, if there is one now."""
    lease = world.apps[app].lease
    if lease.ends is not None and lease.ends <= world.now:
        return None
    return lease.holder


def claim(world: World, unit: Unit) -> None:
    """Take the lease if nobody holds it; any unit may be the first (R14)."""
    lease = world.apps[unit.app].lease
    if holder(world, unit.app) is not None or not unit.renews or unit.life == "dead":
        return
    if lease.holder is not None and lease.holder in world.units:
        world.units[lease.holder].leader_told = False
    lease.holder, lease.anchor, lease.ends = unit.name, world.now, None
    lease.serial += 1
    unit.leader_told = False
    unit.removals_told.clear()  # a new leader is told of every old revision again
    world.note(unit.name, "leadership claimed", module="juju.worker.leadership")


def renewals_stop(world: World, unit: Unit) -> None:
    """Begin the countdown from the last renewal: 30 to 60 s remain (R13)."""
    lease = world.apps[unit.app].lease
    if lease.holder != unit.name or lease.ends is not None:
        return
    renewal, length = world.timings.renewal, world.timings.lease
    last = lease.anchor + renewal * ((world.now - lease.anchor) // renewal)
    lease.ends = last + length
    lease.serial += 1
    world.after(lease.ends - world.now, "lease_ends", unit.app, lease.serial)


def renewals_resume(world: World, unit: Unit) -> None:
    """Keep a lease that has not ended, or try to claim one: an agent is back."""
    lease = world.apps[unit.app].lease
    if holder(world, unit.app) == unit.name and unit.renews:
        lease.anchor, lease.ends = world.now, None
        lease.serial += 1
        return
    claim(world, unit)


def lease_ends(world: World, app: str, serial: int) -> None:
    """Elect somebody else who can: the countdown is over."""
    application = world.apps.get(app)
    if application is None or application.lease.serial != serial:
        return
    vacate(world, application)
    elect(world, app)


def vacate(world: World, application: Application) -> None:
    """End a lease. The old holder is told nothing (R15)."""
    lease = application.lease
    if lease.holder in world.units:
        world.units[lease.holder].leader_told = False
    lease.holder, lease.ends = None, None
    lease.serial += 1


def elect(world: World, app: str) -> None:
    """Let one of those who wait have the lease; which one is chance."""
    if app not in world.apps or holder(world, app) is not None:
        return
    waiting = [unit for unit in world.units_of(app) if unit.renews and unit.life != "dead"]
    if waiting:
        claim(world, world.random.choice(waiting))


def revoke(world: World, unit: Unit) -> None:
    """Give up a dead unit's lease; the next leader is found some seconds later (R17)."""
    application = world.apps[unit.app]
    if application.lease.holder == unit.name:
        vacate(world, application)
        world.after(world.random.uniform(0.5, world.timings.removed_leader), "elect", unit.app)


def no_rule(world: World) -> None:
    """Nothing but a deadline: a retry's time has come."""
