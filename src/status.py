"""Every sentence a status shows, and which of them holds. Pure."""

import ops

from src import cluster, enrolment, files, origin, rotation, state, wazuh
from src.cluster import Role
from src.picture import Picture
from src.relations import Note

_PHASES: dict[str, str] = {
    "waiting": "waiting for its configuration to be complete",
    "starting": "starting Wazuh",
    "claiming": "taking over as master: asking the other units",
    "gathering": "taking over as master: collecting agents' keys",
    "releasing": "handing the master's role over",
    "released": "master's role handed over",
    "following": "not connected to the master",
    "fenced": "cut off from the other units: enrolment and API are closed",
}
_STUCK: dict[str, str] = {
    "refused": "refuses to be master",
    "failed": "Wazuh does not start",
}
_SERVING = "serving"


def find(picture: Picture, waiting_for: str | None) -> list[ops.StatusBase]:
    """Find all that is to be said of this unit; the worst is shown.

    `waiting_for` is what this hook could not go on without.
    """
    found = [ops.BlockedStatus(reason) for reason in _bad_options(picture)]
    found += [_noted(note) for note in picture.notes]
    return [*found, _unit(picture, waiting_for)]


def _bad_options(picture: Picture) -> list[str]:
    reasons = {
        state.ENROLMENT_OPTION: picture.juju.agent_password.problem,
        **picture.problems(),
        **_fetching(picture),
        state.ROTATION_OPTION: rotation.policy_problem(picture.juju.rotation),
    }
    return [f"{option}: {reason}" for option, reason in reasons.items() if reason]


def _noted(note: Note) -> ops.StatusBase:
    """Say what a relation lacks; what runs goes on running either way."""
    return ops.BlockedStatus(str(note)) if note.bad else ops.WaitingStatus(str(note))


def _fetching(picture: Picture) -> dict[str, str]:
    """Tell why the repository that is wished for now is not in force."""
    found = picture.workload
    if not picture.juju.origin.address:
        return {}
    if picture.is_current(found.fetched) and found.fetched.error:
        return {found.fetched.option: found.fetched.error}
    if found.report.ruleset_error:
        return {origin.REPOSITORY: found.report.ruleset_error}
    return {}


def _unit(picture: Picture, waiting_for: str | None) -> ops.StatusBase:
    """Tell how far this unit is."""
    missing = waiting_for or _missing(picture)
    if missing:
        return ops.WaitingStatus(missing)
    decision, report = picture.juju.peers.decision, picture.workload.report
    if decision is None or not report.exists:
        return ops.WaitingStatus(_PHASES["starting"])
    if report.phase in _STUCK:
        return ops.BlockedStatus(report.sentence or _STUCK[report.phase])
    if report.epoch != decision.epoch:
        return ops.WaitingStatus(f"taking up epoch {decision.epoch}")
    if report.phase != _SERVING:
        return ops.WaitingStatus(report.sentence or _PHASES.get(report.phase, report.phase))
    if not report.ready or report.sentence:
        return ops.WaitingStatus(report.sentence or "not ready yet")
    reached = _reached(picture) if picture.juju.leader else ""
    told = reached + _configuration(picture) + _left(picture) + _waiting_alerts(picture)
    return ops.ActiveStatus(_serving(picture, decision) + told)


def _reached(picture: Picture) -> str:
    """Say where the application is reached from outside, and how long its certificate holds."""
    until = f", certificate until {picture.until[:10]}" if picture.until else ""
    if not (picture.address or picture.ports):
        return until
    at = f", at {picture.address or 'any node'}"
    return f"{at}, port {enrolment.summary(picture.ports)}{until}" if picture.ports else at + until


def _configuration(picture: Picture) -> str:
    """Name the commit in place; warn of a way that anybody can read and change."""
    juju, report = picture.juju, picture.workload.report
    if not juju.origin.address:
        return ""
    said = f", configuration {report.commit[:12]}" if report.commit else ""
    if juju.origin.address.startswith("git+http://"):
        said += ", fetched over plain-text http"
    return f"{said}, put back after a change by hand: {report.mended}" if report.mended else said


def _left(picture: Picture) -> str:
    """Say which agents the master did not take, and what no unit would keep but a volume."""
    report, said = picture.workload.report, ""
    if report.conflicts:
        said = f"; agents to look at: {len(report.conflicts)} ({report.conflicts[0]})"
    if picture.juju.leader and not report.keys_prepared:
        said += "; too many agents for master-state, their keys are on the volumes alone"
    return said


def _waiting_alerts(picture: Picture) -> str:
    """Say since when alerts wait on the volume, while an indexer is related."""
    found = picture.workload
    away = found.report.indexer_away
    if not away or f"{files.ROOT}/indexer.json" not in found.applied.pushed:
        return ""
    return f"; alerts wait on disk, the indexer takes none since {away}"


def _missing(picture: Picture) -> str | None:
    """Name the first thing that is missing before Wazuh can be configured."""
    if picture.juju.missing():
        return picture.juju.missing()
    if not picture.workload.reachable:
        return f"waiting for Pebble in the container {wazuh.CONTAINER}"
    return None


def _serving(picture: Picture, decision: cluster.Decision) -> str:
    """Name the role; how many units there are costs a hook tool, and only a master says it."""
    if decision.role(picture.juju.unit) is Role.MASTER:
        return f"master of {picture.planned()}, epoch {decision.epoch}"
    return f"worker of {cluster.node_name(decision.master)}, epoch {decision.epoch}"
