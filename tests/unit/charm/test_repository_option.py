"""The option `custom-config-repository`: fetched by the master, and never in the way."""

import json

import ops
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops import testing

from tests.unit.charm.world import Unit, leader, own, peer_of

GOOD = "git+https://git.example.org:8443/team/rules@main#subdirectory=wazuh"
REQUEST = "/etc/wazuh-server/repository.json"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BAD = [
    "git+hhtp://git.example.org/rules",
    "--upload-pack=x",
    "ext::sh -c id",
    "file:///etc",
    "git://git.example.org/rules",
    "git+https://-oProxyCommand=id/rules",
    "git+https://git.example.org\n/rules",
    "git+https://git.example.org:99999/rules",
    "git+https://user:hunter22@git.example.org/rules",
    "git+https://git.example.org/rules@--upload-pack=x",
    "git+https://git.example.org/rules@a..b",
    "git+https://git.example.org/rules#subdirectory=../etc",
]


@pytest.fixture
def master(tmp_path):
    unit = leader(tmp_path)
    unit.configure(config={"custom-config-repository": GOOD})
    unit.run("config_changed")
    return unit


def _request(unit):
    return json.loads(unit.read(REQUEST))["request"]


def test_given_a_good_address_when_the_master_runs_then_it_is_fetched_beside_wazuh(tmp_path):
    unit = leader(tmp_path)
    environment = dict(unit.environment)
    unit.configure(config={"custom-config-repository": GOOD})

    unit.run("config_changed")

    request = json.loads(unit.read(REQUEST))
    assert request.pop("request")
    assert request == {
        "url": "https://git.example.org:8443/team/rules",
        "ref": "main",
        "subdirectory": "wazuh",
        "proxies": {},
    }
    assert unit.calls["start_services"] == 1
    assert unit.container.plan.services["repository"].user == "wazuh-git"
    assert unit.environment == environment
    assert unit.desired["ruleset"] == {"commit": None}


def test_given_a_fetched_commit_when_told_then_it_is_served(master):
    master.fetched(request=_request(master), commit=COMMIT, error=None)

    master.notice("wazuh-server.local/repository")

    assert master.desired["ruleset"] == {"commit": COMMIT}
    assert isinstance(master.status, ops.ActiveStatus)


def test_given_a_fetch_that_failed_when_told_then_the_status_says_so_and_the_last_stays(master):
    master.fetched(request=_request(master), commit=COMMIT, error=None)
    master.notice("wazuh-server.local/repository")
    master.configure(config={"custom-config-repository": GOOD + "2"})
    master.run("config_changed")
    master.stop("repository")
    master.fetched(request=_request(master), commit="f" * 40, error="no such ref")

    master.notice("wazuh-server.local/repository")

    assert master.status == ops.BlockedStatus("custom-config-repository: no such ref")
    assert master.desired["ruleset"] == {"commit": COMMIT}


def test_given_a_fetch_that_failed_when_the_status_is_updated_then_it_is_tried_again(master):
    master.stop("repository")
    master.fetched(request=_request(master), commit=None, error="the host is down")

    master.run("config_changed")
    assert master.calls["start_services"] == 0
    master.run("update_status")

    assert master.calls["start_services"] == 1


def test_given_a_running_fetch_when_more_events_come_then_it_is_left_alone(master):
    for event in ("config_changed", "update_status", "relation_changed"):
        master.run(event)
        assert master.writes == {}


def test_given_the_result_of_an_older_wish_when_told_then_it_is_not_served(master):
    master.stop("repository")
    master.fetched(request="another", commit=COMMIT, error=None)

    master.notice("wazuh-server.local/repository")

    assert master.desired["ruleset"] == {"commit": None}
    assert master.calls["start_services"] == 1


def test_given_a_worker_when_the_option_is_set_then_it_fetches_nothing(tmp_path):
    lead = leader(tmp_path / "leader")
    worker = peer_of(lead, tmp_path / "worker", config={"custom-config-repository": GOOD})

    worker.run("pebble_ready")

    assert not worker.path(REQUEST).exists()
    assert "repository" not in worker.container.plan.services
    assert worker.desired["ruleset"] is None


def test_given_a_master_that_does_not_lead_when_the_option_is_set_then_it_fetches(tmp_path):
    unit = leader(tmp_path)
    unit.configure(leader=False, config={"custom-config-repository": GOOD})

    unit.run("config_changed")

    assert unit.calls["start_services"] == 1
    assert unit.desired["ruleset"] == {"commit": None}


def test_given_a_leader_that_is_worker_when_the_option_is_set_then_it_leaves_rules_alone(tmp_path):
    worker = peer_of(leader(tmp_path / "leader"), tmp_path / "worker")
    owned = {own(secret) for secret in worker.state.secrets}
    worker.configure(leader=True, secrets=owned, config={"custom-config-repository": GOOD})

    worker.run("pebble_ready")

    assert worker.desired["role"] == "worker"
    assert worker.desired["ruleset"] is None
    assert worker.calls["start_services"] == 0


def _in_place(unit, **changes):
    unit.stop("repository")
    unit.fetched(request=_request(unit), commit=COMMIT, error=None)
    unit.report(ruleset={"commit": COMMIT, "error": None} | changes)
    unit.notice("wazuh-server.local/repository")


def test_given_a_commit_in_place_when_shown_then_the_status_names_it(master):
    _in_place(master)

    assert master.status.message.endswith("epoch 1, configuration 0123456789ab")


def test_given_plain_text_http_when_shown_then_the_status_warns(master):
    master.configure(config={"custom-config-repository": "git+http://git.example.org/rules"})
    master.run("config_changed")
    _in_place(master)

    assert master.status.message.endswith(
        "configuration 0123456789ab, fetched over plain-text http"
    )


def test_given_a_file_that_was_put_back_when_shown_then_the_status_names_it(master):
    _in_place(master, mended="etc/rules/local.xml and 2 more")

    assert master.status.message.endswith(
        "configuration 0123456789ab, put back after a change by hand: "
        "etc/rules/local.xml and 2 more"
    )


def test_given_a_branch_when_the_status_is_updated_then_only_the_fetching_is_started(master):
    _in_place(master)

    master.run("config_changed")
    assert master.writes == {}
    master.run("update_status")

    assert master.writes == {"start_services": 1}


def test_given_a_new_commit_of_the_branch_when_told_then_it_is_served(master):
    _in_place(master)
    master.run("update_status")
    master.stop("repository")
    master.fetched(request=_request(master), commit="f" * 40, error=None)

    master.notice("wazuh-server.local/repository")

    assert master.desired["ruleset"] == {"commit": "f" * 40}


def test_given_a_master_when_synchronising_is_asked_for_then_it_fetches_now(master):
    _in_place(master)

    master.act("sync-configuration")

    assert master.writes == {"start_services": 1}


def test_given_who_cannot_fetch_when_synchronising_is_asked_for_then_it_is_said(tmp_path, master):
    lead = leader(tmp_path / "leader")
    option = {"custom-config-repository": GOOD}
    worker = peer_of(lead, tmp_path / "worker", config=option)
    worker.run("pebble_ready")
    cases = [
        (lead, "custom-config-repository is not set"),
        (worker, "only the master fetches: juju run wazuh-server/0 sync-configuration"),
    ]
    for unit, reason in cases:
        with pytest.raises(testing.ActionFailed, match=reason):
            unit.act("sync-configuration")
    master.configure(config={"custom-config-repository": "ext::sh -c id"})
    with pytest.raises(testing.ActionFailed, match="no scheme"):
        master.act("sync-configuration")


def test_given_an_error_of_an_older_wish_when_shown_then_it_is_not(master):
    master.stop("repository")
    master.fetched(request="another", commit=None, error="the host is unknown")

    master.run("config_changed")

    assert isinstance(master.status, ops.ActiveStatus)


def test_given_an_error_of_many_lines_when_shown_then_it_is_one_short_line(master):
    master.stop("repository")
    master.fetched(request=_request(master), commit=None, error="cannot\n\tbe " + "x" * 5000)

    master.notice("wazuh-server.local/repository")

    assert master.status.message.startswith("custom-config-repository: cannot be xxx")
    assert len(master.status.message) < 400


def test_given_the_option_is_unset_when_the_master_runs_then_its_rules_go(master):
    master.fetched(request=_request(master), commit=COMMIT, error=None)
    master.notice("wazuh-server.local/repository")
    master.configure(config={})

    master.run("config_changed")

    assert master.desired["ruleset"] == {"commit": None}


def test_given_a_new_container_when_the_option_is_set_then_the_rules_on_the_volume_stay(master):
    master.fetched(request=_request(master), commit=COMMIT, error=None)
    master.notice("wazuh-server.local/repository")
    master.restart_container()

    master.run("pebble_ready")

    assert master.desired["ruleset"] is None
    assert master.calls["start_services"] == 1


def test_given_an_unknown_scheme_when_first_deployed_then_it_serves_and_says_which(tmp_path):
    unit = Unit(tmp_path, config={"custom-config-repository": "git+hhtp://git.example.org/r"})

    unit.run("pebble_ready")
    unit.report()
    unit.run("update_status")

    assert unit.desired["role"] == "master"
    assert unit.status.name == "blocked"
    assert unit.status.message.startswith('custom-config-repository: unknown scheme "git+hhtp"')
    assert "git+https" in unit.status.message


@pytest.mark.parametrize("address", BAD)
def test_given_a_bad_address_when_set_then_what_runs_is_untouched(tmp_path, address):
    unit = leader(tmp_path)
    before, plan = unit.files(), unit.container.plan.to_dict()
    unit.configure(config={"custom-config-repository": address})

    unit.run("config_changed")

    assert unit.status.name == "blocked"
    assert unit.status.message.startswith("custom-config-repository: ")
    assert "hunter22" not in unit.status.message
    assert "\n" not in unit.status.message
    after = unit.files()
    told = {"/etc/wazuh-server/desired.json", "/etc/wazuh-server/applied.json"}
    assert {path for path in after if after[path] != before.get(path)} <= told
    assert unit.container.plan.to_dict() == plan
    unit.run("config_changed")
    assert unit.writes == {}
    assert unit.status.message.startswith("custom-config-repository: ")


def test_given_a_bad_address_after_a_good_one_when_set_then_the_last_good_is_served(master):
    master.fetched(request=_request(master), commit=COMMIT, error=None)
    master.notice("wazuh-server.local/repository")
    master.configure(config={"custom-config-repository": "git+hhtp://x/y"})

    master.run("config_changed")

    assert master.desired["ruleset"] == {"commit": COMMIT}


@pytest.mark.parametrize("rubbish", ["", "{", "[1]", '{"request": 1, "commit": [], "error": {}}'])
def test_given_rubbish_as_result_when_read_then_it_counts_as_none(master, rubbish):
    master.write("/var/lib/wazuh-repository/result.json", rubbish)

    master.run("update_status")

    assert isinstance(master.status, ops.ActiveStatus)


def test_given_blanks_only_when_set_then_it_is_as_unset(tmp_path):
    unit = leader(tmp_path)
    unit.configure(config={"custom-config-repository": "  "})

    unit.run("config_changed")

    assert unit.writes == {}
    assert isinstance(unit.status, ops.ActiveStatus)


@given(
    st.one_of(
        st.text(max_size=60),
        st.text(max_size=30).map(lambda text: f"git+https://{text}"),
        st.text(max_size=30).map(lambda text: f"git+https://git.example.org/{text}"),
    ).filter(lambda text: "\0" not in text)
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_given_any_text_as_address_when_set_then_there_is_no_error_and_it_serves(
    tmp_path_factory, text
):
    unit = Unit(tmp_path_factory.mktemp("unit"), config={"custom-config-repository": text})

    unit.run("pebble_ready")
    unit.report()
    unit.run("update_status")

    assert unit.desired["role"] == "master"
    assert unit.status.name in ("active", "blocked")
    assert unit.status.name == "active" or unit.status.message.startswith(
        "custom-config-repository: "
    )
