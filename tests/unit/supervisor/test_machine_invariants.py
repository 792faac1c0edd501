"""Random schedules of moves and faults on the virtual cluster; what must hold at every moment."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from tests.unit.supervisor.virtual import Cluster, deployed

_SETTINGS = settings(
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_COUNT = 3
_UNIT = st.integers(0, _COUNT - 1).map(lambda i: f"u{i}")
_PAUSE = st.floats(0, 45)
_MOVE = st.tuples(st.just("move"), _UNIT, st.lists(_UNIT, unique=True), _PAUSE)
_CRASH = st.tuples(st.just("crash"), _UNIT, st.just([]), _PAUSE)
_GONE = st.tuples(st.just("gone"), _UNIT, st.just([]), _PAUSE)
_CUT = st.tuples(st.just("cut"), _UNIT, st.just([]), _PAUSE)
_HEAL = st.tuples(st.just("heal"), _UNIT, st.just([]), _PAUSE)
_LOSSY = st.sampled_from([0.0, 0.1, 0.3])


def _play(cluster: Cluster, schedule: list) -> int:
    """Let the schedule happen, enrolling meanwhile; returns the last epoch."""
    epoch = 1
    for kind, node, late, pause in schedule:
        if kind == "move":
            epoch += 1
            told = [n for n in cluster.units if n not in late or n == node]
            cluster.publish(epoch, node, told)
        elif kind == "crash" and cluster[node].state:
            cluster.restart(node)
        elif kind == "gone":
            # The charm's files are not on the volume: it has to come by before anything starts.
            cluster.kill(node)
            cluster[node].desired = None
        elif kind == "cut":
            cluster.cut.add(node)
        elif kind == "heal":
            cluster.cut.clear()
        cluster.run(pause, enrol_every=1.0)
    return epoch


def _recover(cluster: Cluster, epoch: int, master: str) -> None:
    """End every fault and tell everybody."""
    cluster.cut.clear()
    cluster.loss = 0.0
    cluster.publish(epoch, master)
    note(f"{cluster.phases()} {cluster.sentences()}")
    cluster.until(300, lambda: cluster.settled(master))


@_SETTINGS
@given(
    schedule=st.lists(st.one_of(_MOVE, _CRASH), max_size=8),
    loss=_LOSSY,
    seed=st.integers(0, 2**16),
)
def test_given_any_moves_and_restarts_when_messages_are_lost_then_no_key_is_and_one_enrols(
    schedule, loss, seed
):
    cluster = deployed(_COUNT, seed)
    cluster.loss = loss
    epoch = _play(cluster, schedule)
    _recover(cluster, epoch + 1, "u1")
    assert cluster.overlaps == []
    assert cluster.twice == []
    assert set(cluster.enrolled) <= set(cluster["u1"].keys)


#: A claimant that was cut off itself comes back, for a moment, to a master that was never fenced.
_BACK = [
    ("move", "u2", ["u0", "u1", "u2"], 0.1),
    ("cut", "u1", [], 0.0),
    ("cut", "u2", [], 40.5),
    ("cut", "u0", [], 6.5),
    ("heal", "u0", [], 25.5),
]


@example(schedule=_BACK, loss=0.0, seed=239)
@_SETTINGS
@given(
    schedule=st.lists(st.one_of(_MOVE, _CRASH, _GONE, _CUT, _HEAL), max_size=10),
    loss=_LOSSY,
    seed=st.integers(0, 2**16),
)
def test_given_any_faults_when_they_end_then_never_two_enrolled_and_the_cluster_converges(
    schedule, loss, seed
):
    cluster = deployed(_COUNT, seed)
    cluster.loss = loss
    epoch = _play(cluster, schedule)
    assert cluster.overlaps == []
    _recover(cluster, epoch + 1, "u2")
    assert cluster.overlaps == []
    assert cluster.twice == [], "a gap keeps ids that were given from being given again"


@_SETTINGS
@given(first=_UNIT, order=st.permutations(range(_COUNT)), pauses=st.lists(_PAUSE, min_size=3))
def test_given_any_starting_order_when_deployed_then_one_master_and_all_serve(
    first, order, pauses
):
    cluster = Cluster(_COUNT)
    for number, pause in zip(order, pauses, strict=False):
        cluster.publish(1, first, [f"u{number}"])
        cluster.run(pause)
    cluster.until(120, lambda: cluster.settled(first))
    assert cluster.overlaps == []
