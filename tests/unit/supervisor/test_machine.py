"""The state machine's decisions, one situation each, on a virtual cluster."""

from __future__ import annotations

from dataclasses import replace

from supervisor import main, pebble, places, processes
from supervisor.machine import (
    API,
    CLUSTER,
    ENROLMENT,
    FRONT,
    GAP,
    Answer,
    Desired,
    Keys,
    Memory,
    Merge,
    Remember,
    Run,
    Seen,
    Term,
    Wake,
    begin,
    status,
    step,
)

from tests.unit.supervisor.virtual import REAL, Cluster, deployed


def _run(actions: list) -> Run:
    """Return the one order to the processes."""
    (run,) = [a for a in actions if isinstance(a, Run)]
    return run


def test_given_no_order_when_stepped_then_nothing_runs_and_it_waits():
    state, actions = step(begin("", 0), None, Seen(memory=Memory()), 0)
    assert (state.phase, state.ready) == ("waiting", False)
    assert _run(actions) == Run()


def test_given_an_unreadable_volume_when_stepped_then_nothing_runs():
    order = Desired(1, "master", "u0", "u0")
    state, actions = step(begin("u0", 0), order, Seen(memory=None, peers=0), 0)
    assert (state.phase, state.sentence) == ("waiting", "waiting for the volume")
    assert _run(actions) == Run()


def test_given_three_new_units_when_deployed_then_one_master_and_no_wait_for_absent_peers():
    cluster = Cluster(3)
    cluster.publish(1, "u0", ["u0"])
    took = cluster.until(40, lambda: cluster.masters() == ["u0"])
    assert took < REAL.takeover, "an application's first master has no predecessor to wait for"
    cluster.publish(1, "u0", ["u1", "u2"])
    cluster.until(60, lambda: cluster.settled("u0"))
    assert cluster["u0"].keys == {}, "no gap is reserved where nobody was ever enrolled"


def test_given_workers_first_when_the_master_comes_then_they_follow_without_its_charm():
    cluster = Cluster(3)
    cluster.publish(1, "u2", ["u0", "u1"])
    cluster.run(30)
    assert cluster.masters() == []
    cluster.publish(1, "u2", ["u2"])
    cluster.until(90, lambda: cluster.settled("u2"))


def test_given_a_planned_move_under_enrolments_when_it_ends_then_no_key_is_lost():
    cluster = deployed(3)
    cluster.run(60, enrol_every=0.5)
    cluster.publish(2, "u1")
    cluster.run(5, enrol_every=0.5)
    cluster.until(120, lambda: cluster.settled("u1"), enrol_every=0.5)
    assert set(cluster.enrolled) <= set(cluster["u1"].keys)
    assert not cluster.overlaps
    assert "!reserved" not in cluster["u1"].keys.values(), "nothing was missed, so no gap"


def test_given_an_old_master_that_restarts_in_a_move_when_it_is_back_then_it_is_waited_for():
    cluster = deployed(3)
    cluster.run(11, enrol_every=1)
    cluster.publish(2, "u1")
    cluster.run(16)
    cluster.restart("u0")
    cluster.until(120, lambda: cluster.settled("u1"))
    assert set(cluster.enrolled) <= set(cluster["u1"].keys)


def test_given_an_old_master_that_never_releases_when_claimed_then_it_is_not_waited_for_ever():
    order = Desired(2, "master", "u1", "u1")
    memory = Memory(Term(2, "u1"), serving=Term(1, "u0"))
    old = Answer("u0", Term(2, "u1"), 1, Term(1, "u0"), "releasing", keys=Keys(3, 3))
    seen = Seen(memory, keys=Keys(2, 2), peers=1)
    state, merged = begin("u1", 0), None
    for tick in range(400):
        now = tick / 2
        heard = replace(seen, answers=(replace(old, heard=now),))
        state, actions = step(state, order, heard, now)
        if merged is None and any(isinstance(a, Merge) for a in actions):
            merged = now
    assert merged == REAL.patience


def test_given_an_old_master_that_juju_does_not_reach_when_claimed_then_it_releases():
    cluster = deployed(3)
    cluster.run(20, enrol_every=1)
    cluster.publish(2, "u1", ["u1", "u2"])
    took = cluster.until(60, lambda: cluster.masters() == ["u1"])
    assert took < REAL.takeover, "it answered, so nobody waits for the fence"
    assert cluster.phases()["u0"] == "released"
    assert set(cluster.enrolled) <= set(cluster["u1"].keys)
    assert "wazuh-remoted" in cluster["u0"].running, "agents' sessions stay"
    assert not cluster["u0"].running & FRONT


def test_given_a_release_that_was_killed_when_it_restarts_then_it_never_serves_that_epoch():
    cluster = deployed(3)
    cluster.publish(2, "u1", ["u1"])
    cluster.until(30, lambda: cluster.phases()["u0"] == "releasing")
    cluster.restart("u0")
    cluster.cut = {"u1", "u2"}
    cluster.run(120)
    assert cluster.masters() == []
    assert cluster.phases()["u0"] == "released"
    assert cluster["u0"].memory.term == Term(2, "u1")


def test_given_a_silent_old_master_when_claimed_then_takeover_comes_after_the_fence_only():
    cluster = deployed(3)
    cluster.run(40, enrol_every=1)
    cluster.cut = {"u0"}
    cluster.publish(2, "u1", ["u1", "u2"])
    took = cluster.until(120, lambda: cluster.masters() == ["u1"])
    assert took > REAL.takeover
    assert cluster.phases()["u0"] == "fenced"
    assert not cluster.overlaps
    last = max(n for n, name in cluster["u1"].keys.items() if name != "!reserved")
    assert cluster["u1"].keys[last + GAP] == "!reserved"


def test_given_a_silent_master_that_enrolled_unheard_when_replaced_then_its_id_stays_free():
    cluster = deployed(3)
    cluster.cut = {"u0"}
    cluster.publish(2, "u1", ["u1", "u2"])
    cluster.run(3, enrol_every=1)
    cluster.until(120, lambda: cluster.masters() == ["u1"])
    assert cluster.enrol() == GAP + 1
    assert cluster.twice == []


def test_given_a_fenced_master_when_it_hears_the_others_again_then_it_releases():
    cluster = deployed(3)
    cluster.cut = {"u0"}
    cluster.publish(2, "u1", ["u1", "u2"])
    cluster.until(120, lambda: cluster.masters() == ["u1"])
    cluster.cut = set()
    cluster.until(30, lambda: cluster.phases()["u0"] == "released")
    assert not cluster.overlaps


def test_given_a_cut_off_master_when_time_passes_then_it_ends_enrolment_api_and_cluster():
    cluster = deployed(3)
    cluster.cut = {"u0"}
    cluster.run(REAL.fence - 3)
    assert cluster.masters() == ["u0"]
    cluster.run(10)
    unit = cluster["u0"]
    assert unit.state and not unit.state.ready
    assert not unit.running & FRONT
    assert "wazuh-remoted" in unit.running


def test_given_a_fenced_master_when_nobody_took_over_then_it_serves_again():
    cluster = deployed(3)
    cluster.cut = {"u0"}
    cluster.run(REAL.fence + 10)
    cluster.cut = set()
    cluster.until(40, lambda: cluster.settled("u0"))


def test_given_only_the_kubernetes_api_when_all_peers_are_gone_then_the_master_serves():
    cluster = deployed(3)
    for node in ("u1", "u2"):
        cluster.kill(node)
    cluster.run(3 * REAL.fence)
    assert cluster.masters() == ["u0"]


def test_given_a_sole_unit_when_even_kubernetes_is_gone_then_it_is_never_fenced():
    cluster = deployed(1)
    cluster.kubernetes = False
    cluster.run(10 * REAL.fence)
    assert cluster.settled("u0")


def test_given_a_restarted_master_that_is_cut_off_when_started_then_it_serves_nobody():
    cluster = deployed(3)
    cluster.cut = {"u0"}
    cluster.restart("u0")
    cluster.run(60)
    assert cluster.masters() == []
    cluster.cut = set()
    cluster.until(40, lambda: cluster.settled("u0"))


def test_given_a_master_of_an_old_epoch_when_started_then_it_hears_the_newer_one_first():
    cluster = deployed(3)
    cluster.kill("u0")
    cluster.publish(2, "u1", ["u1", "u2"])
    cluster.until(120, lambda: cluster.masters() == ["u1"])
    cluster.restart("u0")  # its charm still says epoch 1
    cluster.run(60)
    assert cluster.masters() == ["u1"]
    assert cluster.phases()["u0"] == "released"


def test_given_a_restarted_master_when_it_has_asked_nobody_yet_then_it_starts_nothing():
    order = Desired(1, "master", "u0", "u0")
    memory = Memory(Term(1, "u0"), 1, Term(1, "u0"), "x", synchronised=True)
    seen = Seen(memory, peers=2, kubernetes=True)
    state, actions = step(begin("u0", 100), order, seen, 100)
    assert _run(actions).role is None, "a peer may know of a newer master"
    _, actions = step(state, order, seen, 100 + REAL.settle)
    assert _run(actions).role == "master"


def test_given_a_claimant_that_is_cut_off_when_time_passes_then_it_does_not_take_over():
    cluster = deployed(3)
    cluster.cut = {"u1"}
    cluster.run(REAL.fence)
    cluster.publish(2, "u1", ["u1"])
    cluster.run(5 * REAL.takeover)
    assert cluster["u1"].memory.served == 0
    assert "reach" in (cluster.sentences()["u1"] or "")
    assert cluster.masters() == ["u0"]


def test_given_an_empty_claimant_when_the_peers_have_keys_then_it_takes_them_over():
    cluster = deployed(3)
    cluster.run(60, enrol_every=1)
    before = dict(cluster["u0"].keys)
    cluster.lose_volume("u2")
    cluster.publish(2, "u2")
    cluster.restart("u2")
    cluster.until(120, lambda: cluster.settled("u2"))
    assert before.items() <= cluster["u2"].keys.items()


def test_given_an_empty_claimant_when_nobody_has_keys_then_it_refuses_and_says_why():
    cluster = deployed(3)
    cluster.run(60, enrol_every=1)
    cluster.publish(2, "u1")
    cluster.until(120, lambda: cluster.settled("u1"))
    for node in ("u0", "u1", "u2"):
        cluster.lose_volume(node)
        cluster.restart(node)
    cluster.run(200)
    assert cluster.masters() == []
    assert cluster.phases()["u1"] == "refused"
    assert "bring back" in (cluster.sentences()["u1"] or "")


def test_given_a_refused_claimant_when_a_unit_with_the_keys_returns_then_it_goes_on():
    cluster = deployed(3)
    cluster.run(60, enrol_every=1)
    kept = dict(cluster["u0"].keys)
    cluster.publish(2, "u1")
    cluster.until(120, lambda: cluster.settled("u1"))
    for node in ("u0", "u2"):
        cluster.kill(node)
    cluster.lose_volume("u1")
    cluster.restart("u1")
    cluster.until(200, lambda: cluster.phases()["u1"] == "refused")
    cluster.restart("u2")
    cluster.until(60, lambda: cluster.masters() == ["u1"])
    assert kept.items() <= cluster["u1"].keys.items()


def test_given_a_master_whose_volume_is_lost_when_it_returns_then_the_workers_give_it_back():
    cluster = deployed(3)
    cluster.run(60, enrol_every=1)
    cluster.run(20)
    kept = dict(cluster["u0"].keys)
    cluster.lose_volume("u0")
    cluster.restart("u0")
    cluster.until(120, lambda: cluster.settled("u0"))
    assert kept.items() <= cluster["u0"].keys.items()
    assert cluster.enrol() == max(kept) + GAP + 1, "ids it may have given are left out"


def test_given_an_empty_master_when_a_worker_with_keys_hears_it_then_it_does_not_follow():
    cluster = deployed(2)
    cluster.run(40, enrol_every=1)
    cluster.run(20)
    kept = dict(cluster["u1"].keys)
    cluster.cut = {"u1"}
    cluster.lose_volume("u0")
    cluster["u0"].memory = Memory(Term(1, "u0"), 1, Term(1, "u0"), "another", synchronised=True)
    cluster.restart("u0")
    cluster.kill("u1")
    cluster.until(60, lambda: cluster.masters() == ["u0"])
    cluster.cut = set()
    cluster.restart("u1")
    cluster.until(120, lambda: cluster.settled("u0"))
    assert kept.items() <= cluster["u0"].keys.items(), "the master took them from its worker"
    assert kept.items() <= cluster["u1"].keys.items()


def test_given_a_volume_of_a_higher_epoch_when_told_to_be_master_below_it_then_it_refuses():
    memory = Memory(Term(7, "u0"), 7, Term(7, "u0"))
    order = Desired(3, "master", "u0", "u0")
    state, actions = step(begin("u0", 0), order, Seen(memory=memory, peers=0), 100)
    assert state.phase == "refused"
    assert "epoch 7" in (state.sentence or "")
    assert _run(actions).role is None


def test_given_two_masters_of_one_epoch_when_they_hear_each_other_then_neither_serves():
    cluster = deployed(2)
    cluster.cut = {"u0", "u1"}
    cluster.publish(2, "u0", ["u0"])
    cluster.publish(2, "u1", ["u1"])
    cluster.run(5)
    cluster.cut = set()
    cluster.run(60)
    assert cluster.masters() == []
    assert set(cluster.phases().values()) == {"refused"}
    assert "u0 and u1" in (cluster.sentences()["u0"] or "")
    assert all(unit.state and unit.state.contested for unit in cluster.units.values())
    cluster.publish(3, "u0")
    cluster.until(120, lambda: cluster.settled("u0"))


def test_given_two_claims_when_one_is_newer_then_the_older_claimant_follows():
    cluster = deployed(3)
    cluster.publish(2, "u1", ["u1"])
    cluster.publish(3, "u2", ["u2"])
    cluster.until(120, lambda: cluster.masters() == ["u2"])
    assert not cluster.overlaps
    cluster.publish(3, "u2")
    cluster.until(120, lambda: cluster.settled("u2"))


def test_given_a_claim_when_a_worker_hears_it_then_its_sessions_go_on():
    cluster = deployed(3)
    cluster.publish(2, "u1", ["u1"])
    for _ in range(100):
        cluster.run(0.5)
        assert "wazuh-remoted" in cluster["u2"].running
    assert cluster["u2"].points_to == "u1", "from a peer: its own charm still says u0"


def test_given_a_lost_master_when_nothing_replaces_it_then_workers_stay_ready():
    cluster = deployed(3)
    cluster.kill("u0")
    cluster.run(300)
    for node in ("u1", "u2"):
        state = cluster[node].state
        assert state and state.ready
        assert state.phase == "following"


def test_given_a_new_worker_when_its_keys_have_not_come_then_it_is_not_ready():
    cluster = deployed(2)
    cluster.run(10, enrol_every=1)
    order = Desired(1, "worker", "u9", "u0")
    answer = Answer(
        "u0",
        Term(1, "u0"),
        1,
        Term(1, "u0"),
        "serving",
        keys=cluster["u0"].summary(),
        incarnation="x",
        heard=50,
    )
    seen = Seen(
        memory=Memory(Term(1, "u0"), serving=Term(1, "u0")),
        running=frozenset({"wazuh-remoted", "wazuh-analysisd", "wazuh-db", *FRONT}),
        role="worker",
        complete=True,
        connected=True,
        peers=1,
        answers=(answer,),
        api=True,
    )
    state, _ = step(begin("u9", 0), order, seen, 50)
    assert not state.ready
    state, _ = step(state, order, replace(seen, keys=answer.keys), 50.5)
    assert state.ready
    assert state.memory.synchronised


def _ready_worker() -> tuple[Desired, Seen]:
    seen = Seen(
        memory=Memory(Term(1, "u0"), serving=Term(1, "u0"), synchronised=True),
        running=frozenset({"wazuh-remoted", "wazuh-analysisd", "wazuh-db", *FRONT}),
        role="worker",
        complete=True,
        connected=True,
        peers=1,
        api=True,
    )
    return Desired(1, "worker", "u1", "u0"), seen


def test_given_a_ready_worker_when_anything_agents_need_is_gone_then_it_is_not_ready():
    order, seen = _ready_worker()
    assert step(begin("u1", 0), order, seen, 50)[0].ready
    for daemon in ("wazuh-remoted", "wazuh-analysisd", "wazuh-db"):
        less = replace(seen, running=seen.running - {daemon})
        assert not step(begin("u1", 0), order, less, 50)[0].ready
    assert not step(begin("u1", 0), order, replace(seen, api=False), 50)[0].ready
    assert not step(begin("u1", 0), order, replace(seen, disk=False), 50)[0].ready
    lost = replace(seen, connected=False, running=seen.running - {CLUSTER})
    assert step(begin("u1", 0), order, lost, 50)[0].ready, "a lost master changes nothing"


def test_given_enrolment_switched_off_when_serving_then_only_authd_is_withheld():
    order, seen = _ready_worker()
    _, actions = step(begin("u1", 0), replace(order, enrolment=False), seen, 50)
    assert _run(actions) == Run("worker", "u0", frozenset({ENROLMENT}))


def test_given_a_release_when_keys_still_change_then_authd_is_stopped_only_after_quiet():
    order = Desired(1, "master", "u0", "u0")
    memory = Memory(Term(1, "u0"), 1, Term(1, "u0"), "x", synchronised=True)
    everything = frozenset({"wazuh-remoted", "wazuh-analysisd", "wazuh-db", *FRONT})
    seen = Seen(memory, running=everything, role="master", complete=True, peers=1, database=True)
    claim = Answer("u1", Term(2, "u1"), phase="claiming")
    state = begin("u0", 0)
    stopped = {}
    for tick in range(1, 40):
        now = 100 + tick / 2
        busy = replace(seen, quiet=0.2 if tick < 10 else 20, answers=(replace(claim, heard=now),))
        state, actions = step(state, order, busy, now)
        stopped[tick] = _run(actions).without
        assert state.phase == "releasing"
        assert _run(actions).shut, "nobody is let in from the first moment on"
    assert stopped[1] == {API, CLUSTER}
    assert stopped[9] == {API, CLUSTER}
    assert stopped[10] == FRONT


def test_given_a_release_when_keys_never_get_quiet_then_it_does_not_wait_for_ever():
    order = Desired(1, "master", "u0", "u0")
    memory = Memory(Term(1, "u0"), 1, Term(1, "u0"), "x", synchronised=True)
    claim = Answer("u1", Term(2, "u1"), phase="claiming")
    seen = Seen(memory, running=FRONT, role="master", complete=True, peers=1)
    state, actions = begin("u0", 0), [Run()]
    for tick in range(2 * int(REAL.release) + 2):
        now = 100 + tick / 2
        state, actions = step(
            state, order, replace(seen, answers=(replace(claim, heard=now),)), now
        )
    assert _run(actions).without == FRONT


def test_given_a_volume_that_cannot_be_written_when_claiming_then_it_never_takes_over():
    order = Desired(2, "master", "u0", "u0")
    state = begin("u0", 0)
    for tick in range(400):
        seen = Seen(memory=Memory(), peers=0, kubernetes=True)
        state, actions = step(state, order, seen, tick / 2)
        assert _run(actions).role is None
        assert status(state).released == 0
        assert [a for a in actions if isinstance(a, Remember)]


def test_given_a_wake_that_is_asked_for_when_a_second_has_passed_then_it_is_sent_until_taken():
    order, seen = _ready_worker()
    order = replace(order, wake=3)
    state = begin("u1", 0)
    sent = []
    for tick in range(8):
        now = 10 + tick / 4
        state, actions = step(state, order, replace(seen, wake=3 if tick > 5 else 0), now)
        sent.append(Wake(3) in actions)
    assert sent == [False] * 4 + [True] * 2 + [False] * 2


def test_given_a_killed_hooks_wake_was_sent_when_a_lower_one_is_asked_for_then_it_is_sent_once(
    tmp_path, monkeypatch
):
    (tmp_path / "state.json").write_text('{"wake": 3}')
    supervisor = main.Supervisor(places.Places(tmp_path, run=tmp_path), REAL)
    assert supervisor._last_wake() == 3
    monkeypatch.setattr(pebble, "notify", lambda _socket, _key: True)
    supervisor._notices.start()
    supervisor._notices.send(pebble.WAKE, 2)
    assert processes.wait_until(lambda: supervisor._last_wake() == 2, 5)
    supervisor._notices.stop()


def test_given_an_answer_that_is_old_when_stepped_then_it_counts_for_nothing():
    order, seen = _ready_worker()
    old = Answer("u2", Term(9, "u2"), heard=50 - REAL.hearing - 1)
    state, _ = step(begin("u1", 0), order, replace(seen, answers=(old,)), 50)
    assert state.memory.term == Term(1, "u0")


def test_given_no_keys_anywhere_when_the_epoch_is_a_later_one_then_it_starts_empty():
    cluster = Cluster(2)
    cluster.publish(1, "u0")
    cluster.until(60, lambda: cluster.settled("u0"))
    cluster.publish(2, "u1")
    cluster.until(120, lambda: cluster.settled("u1"))
    assert cluster["u1"].keys == {}


def test_given_the_same_answer_of_oneself_when_heard_then_it_is_no_contact():
    order = Desired(1, "master", "u0", "u0")
    memory = Memory(Term(1, "u0"), 1, Term(1, "u0"), "x", synchronised=True)
    own = Answer("u0", Term(1, "u0"), 1, phase="serving", keys=Keys(3, 3), heard=99.5)
    seen = Seen(memory, peers=2, answers=(own,), role="master", complete=True)
    state, actions = begin("u0", 0), [Run()]
    for tick in range(60):
        now = 100 + tick / 2
        state, actions = step(state, order, replace(seen, answers=(replace(own, heard=now),)), now)
    assert state.phase == "fenced"
    assert _run(actions).without == FRONT
