"""The runner itself, on tiny charms: what ops-scenario alone would get wrong, and R11."""

import ops
import pytest

from sandbox.inprocess import Charm, Cluster

METADATA = {
    "name": "tiny",
    "containers": {"box": {"mounts": [{"storage": "data", "location": "/data"}]}},
    "storage": {"data": {"type": "filesystem"}},
    "peers": {"peers": {"interface": "tiny_peers"}},
    "config": {"options": {"text": {"type": "string", "default": ""}}},
    "actions": {"work": {"params": {"name": {"type": "string"}}}},
}
LAYER = """
services:
  run: {command: /bin/run, override: replace, startup: enabled}
"""
OTHER = LAYER.replace("enabled}", "enabled, environment: {A: b}}")


class Tiny(ops.CharmBase):
    """A charm that does what its option says, and nothing else."""

    seen = ops.StoredState()

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self.seen.set_default(count=0)
        framework.observe(self.on.config_changed, self._obey)
        framework.observe(self.on.update_status, self._count)
        framework.observe(self.on.work_action, self._work)

    def _obey(self, _event: ops.EventBase) -> None:
        text = str(self.config["text"])
        if text:
            getattr(self, f"do_{text}")()

    def _count(self, _event: ops.EventBase) -> None:
        self.seen.count += 1
        self.unit.status = ops.ActiveStatus(str(self.seen.count))

    def _work(self, event: ops.ActionEvent) -> None:
        event.set_results({"name": event.params.get("name", "none")})

    def do_label_twice(self) -> None:
        """Add a secret without looking first."""
        if self.unit.is_leader():
            self.app.add_secret({"key": "value"}, label="one")

    def do_add_as_minion(self) -> None:
        """Add a secret as what is no leader."""
        if not self.unit.is_leader():
            self.app.add_secret({"key": "value"}, label="one")

    def do_equal(self) -> None:
        """Set the content that is there."""
        if self.unit.is_leader():
            self.model.get_secret(label="one").set_content({"key": "value"})

    def do_layer(self) -> None:
        """Configure Pebble, a file, a folder."""
        box = self.unit.get_container("box")
        box.add_layer("tiny", LAYER, combine=True)
        box.replan()
        box.push("/etc/tiny/file", "text", make_dirs=True, user="tiny", permissions=0o600)

    def do_other(self) -> None:
        """Configure Pebble otherwise."""
        box = self.unit.get_container("box")
        box.add_layer("tiny", OTHER, combine=True)
        box.replan()

    def do_exec(self) -> None:
        """Run a command."""
        self.unit.get_container("box").exec(["/bin/true"])


@pytest.fixture
def tiny(mode):
    """Give a maker of clusters of the tiny charm whose hooks have run."""

    def make(units: int = 1) -> Cluster:
        cluster = Cluster(Charm(Tiny, METADATA), units=units, commit_mode=mode)
        cluster.run(30)
        assert not cluster.failing()
        return cluster

    return make


def _tell(cluster, text, seconds=3):
    before = len(cluster.history)
    cluster.model.set_config(cluster.app, {"text": text})
    cluster.run(seconds)
    return [one for one in cluster.since(before) if one.hook == "config-changed"]


def test_r25_given_a_label_that_exists_when_added_again_then_the_hook_fails_at_commit(tiny):
    cluster = tiny()
    ran = _tell(cluster, "label_twice")
    assert ran[0].ok
    assert not ran[1].ok
    assert "already exists" in ran[1].error
    assert len(cluster.model.secrets()) == 1


def test_r24_given_a_minion_that_adds_the_applications_secret_when_it_runs_then_the_hook_fails(
    tiny,
):
    cluster = tiny(2)
    _tell(cluster, "add_as_minion")
    assert cluster.failing() == ["tiny/1"]
    assert cluster.model.secrets() == []


def test_r27_given_equal_content_when_set_then_no_revision(tiny):
    cluster = tiny()
    leader = cluster.model.world.units["tiny/0"]
    cluster.model.set_config(cluster.app, {"text": "label_twice"})
    cluster.run_hook("tiny/0")
    leader.config_again = False
    ran = _tell(cluster, "equal")
    assert ran
    assert all(one.ok for one in ran)
    assert cluster.model.secrets()[0].revision == 1


def test_r11_given_a_stored_state_when_the_pod_moves_then_it_is_gone_else_kept(tiny):
    cluster = tiny()

    def counted():
        while cluster.history[-1].hook != "update-status":
            cluster.step()
        cluster.step()
        return cluster.statuses()["tiny/0"][1]

    assert counted() == "1"
    cluster.history.append(cluster.history[0])
    cluster.model.charm_container_restarted("tiny/0")
    assert counted() == "2"
    cluster.history.append(cluster.history[0])
    cluster.model.pod_deleted("tiny/0")
    assert counted() == "1"


def test_r36_given_a_plan_when_the_container_restarts_then_plan_files_and_services_are_gone(tiny):
    cluster = tiny()
    _tell(cluster, "layer")
    box = cluster.pods["tiny/0"].boxes["box"]
    assert (box.read("/etc/tiny/file"), box.files["/etc/tiny/file"].mode) == ("text", 0o600)
    assert box.files["/etc/tiny/file"].user == "tiny"
    assert set(box.running) == {"run"}
    cluster.model.container_restarted("tiny/0", "box")
    cluster.sync()
    fresh = cluster.pods["tiny/0"].boxes["box"]
    assert (fresh.files, fresh.running, dict(fresh.scenario.layers)) == ({}, {}, {})


def test_given_a_layer_when_replanned_then_only_what_changed_starts_again(tiny):
    cluster = tiny()
    first, second = _tell(cluster, "layer")
    assert (first.started, first.replans) == (["run"], 1)
    assert (second.started, second.replans) == ([], 1)
    other, again = _tell(cluster, "other")
    assert (other.started, again.started) == (["run"], [])
    assert cluster.pods["tiny/0"].boxes["box"].runs == {"run": 2}


def test_given_a_command_when_the_charm_runs_it_then_it_is_counted(tiny):
    cluster = tiny()
    ran = _tell(cluster, "exec")
    assert ran[0].execs == [("/bin/true",)]
    assert not ran[0].quiet


def test_given_an_action_when_it_runs_then_its_results_are_the_models(tiny):
    cluster = tiny()
    number = cluster.model.run_action("tiny/0", "work", {"name": "x"})
    cluster.run(2)
    record = cluster.model.action(number)
    assert (record.status, dict(record.results)) == ("completed", {"name": "x"})


def test_given_a_failing_process_when_a_hook_ends_then_its_effects_stay_and_its_writes_do_not(
    tiny,
):
    cluster = tiny()
    cluster.model.set_config(cluster.app, {"text": "layer"})
    cluster.run_hook("tiny/0", fail=True)
    assert cluster.failing() == ["tiny/0"]
    assert cluster.pods["tiny/0"].boxes["box"].read("/etc/tiny/file") == "text"
