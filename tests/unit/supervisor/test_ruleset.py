"""Rules: a fetched commit put in place, and a reload for any change. A real analysis socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisor import bundle, configuration, ruleset
from supervisor.places import Places
from supervisor.ruleset import Duty

from tests.unit.supervisor.analysis import CONF, Analysis, install_check, lay_out, texts

_COMMIT = "ab" * 20
_NEXT = "cd" * 20


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Lay out a home with the three folders, and the folder of fetched commits."""
    made = Places(
        home=tmp_path / "ossec", image=tmp_path / "image", repository=tmp_path / "repository"
    )
    lay_out(made)
    return made


@pytest.fixture
def analysis(places: Places) -> Iterator[Analysis]:
    """Serve the socket for a test."""
    made = Analysis(places)
    yield made
    made.close()


def _fetch(places: Places, commit: str = _COMMIT, **files: str) -> None:
    for name, text in files.items():
        kind, _, rest = name.partition("__")
        name = rest.replace("_xml", ".xml").replace("__", "/").replace("_dash_", "-")
        top = kind.replace("_dash_", "-")
        path = places.repository / commit / (f"{top}/{name}" if rest else "ossec.conf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _apply(places: Places, commit: str = _COMMIT, *, master: bool = True) -> None:
    found = bundle.read(places, commit)
    configuration.apply(places, found, master=master, load=list)


IMAGE = {"etc/rules/local_rules.xml": "<group>image</group>", "etc/ossec.conf": CONF}


def test_given_every_kind_when_placed_on_a_master_then_each_is_in_its_place(places):
    _fetch(
        places,
        rules__mine_xml="<group/>",
        decoders__d_xml="<decoder/>",
        lists__hosts="a:b",
        groups__web__agent="x",
        integrations__custom_dash_a="#!/bin/sh",
        active_dash_response__block="#!/bin/sh",
        sca__mine="policy:",
        fragment="<ossec_config><integration/></ossec_config>",
    )
    _apply(places)
    found = texts(places)
    conf = found.pop("etc/ossec.conf")
    assert found == {
        "etc/rules/local_rules.xml": "<group>image</group>",
        "etc/rules/mine.xml": "<group/>",
        "etc/decoders/d.xml": "<decoder/>",
        "etc/lists/hosts": "a:b",
        "etc/shared/web/agent": "x",
        "integrations/custom-a": "#!/bin/sh",
        "active-response/bin/block": "#!/bin/sh",
        "ruleset/sca/mine": "policy:",
    }
    assert conf.startswith(CONF)
    assert "<list>etc/lists/hosts</list>" in conf
    assert conf.endswith("<ossec_config><integration/></ossec_config>\n")
    assert (places.home / "integrations/custom-a").stat().st_mode & 0o777 == 0o750
    assert (places.home / "etc/rules/mine.xml").stat().st_mode & 0o777 == 0o660


def test_given_a_worker_when_placed_then_what_the_cluster_copies_is_left_to_it(places):
    _fetch(places, rules__mine_xml="<group/>", sca__mine="policy:", lists__hosts="a:b")
    (places.home / "etc/lists/hosts").write_text("copied")
    _apply(places, master=False)
    found = texts(places)
    assert found["ruleset/sca/mine"] == "policy:"
    assert found["etc/lists/hosts"] == "copied"
    assert "etc/rules/mine.xml" not in found
    assert "<list>etc/lists/hosts</list>" in found["etc/ossec.conf"]


def test_given_a_worker_that_becomes_master_when_placed_again_then_it_has_everything(places):
    _fetch(places, rules__mine_xml="<group/>", sca__mine="policy:")
    _apply(places, master=False)
    _apply(places, master=True)
    assert "etc/rules/mine.xml" in texts(places)
    assert configuration.applied(places).master


def test_given_a_newer_commit_when_placed_then_what_it_no_longer_has_is_gone(places):
    _fetch(
        places,
        rules__mine_xml="<group/>",
        rules__local_rules_xml="<group>theirs</group>",
        groups__web__agent="x",
        fragment="<ossec_config></ossec_config>",
    )
    _apply(places)
    _fetch(places, _NEXT, rules__other_xml="<group/>")
    _apply(places, _NEXT)
    assert texts(places) == IMAGE | {"etc/rules/other.xml": "<group/>"}
    assert not (places.home / "etc/shared/web").exists()
    _apply(places, bundle.NONE)
    assert texts(places) == IMAGE


def test_given_a_program_of_wazuh_when_placed_then_it_is_refused(places):
    (places.home / "active-response/bin/firewall-drop").write_text("Wazuh's")
    _fetch(places, active_dash_response__firewall_dash_drop="mine", rules__a_xml="<group/>")
    before = texts(places)
    with pytest.raises(configuration.RefusedError, match="firewall-drop is there already"):
        _apply(places)
    assert texts(places) == before


def test_given_rules_that_analysisd_refuses_when_placed_then_the_last_good_are_back(
    places, analysis
):
    keeper = ruleset.Keeper(places)
    _fetch(places, rules__mine_xml="<group/>")
    keeper.look(Duty(True, _COMMIT), 0, running=True)
    before = texts(places)
    _fetch(places, _NEXT, rules__mine_xml="broken", rules__more_xml="<group/>")
    keeper.look(Duty(True, _NEXT), 1, running=True)
    assert texts(places) == before
    assert keeper.report.commit == _COMMIT
    assert "rule 100001 is broken" in (keeper.report.error or "")
    assert keeper.offer == _COMMIT, "no other unit is to have it"


def test_given_what_a_daemon_s_own_check_refuses_when_placed_then_nothing_was_changed(
    places, analysis
):
    install_check(
        places,
        "wazuh-analysisd",
        'grep -q bad "$home/etc/rules/mine.xml" || exit 0\n'
        'echo "2026/01/01 wazuh-analysisd: CRITICAL: (1220): $home/etc/rules/mine.xml"; exit 1',
    )
    keeper = ruleset.Keeper(places)
    _fetch(places, rules__mine_xml="<group>bad")
    before = texts(places)
    keeper.look(Duty(True, _COMMIT), 0, running=True)
    assert keeper.report == ruleset.Report(
        None, "Wazuh refuses it: wazuh-analysisd: (1220): etc/rules/mine.xml"
    )
    assert texts(places) == before
    assert analysis.loads == []
    assert list((places.home / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("daemon", "block"),
    [("wazuh-remoted", "remote"), ("wazuh-agentlessd", "agentless"), ("wazuh-db", "wdb")],
)
def test_given_a_fragment_that_a_daemon_refuses_when_checked_then_the_daemon_is_named(
    places, analysis, daemon, block
):
    install_check(
        places,
        daemon,
        f'! grep -q "<{block}>" "$home/etc/ossec.conf" || {{ echo "ERROR: bad port"; exit 1; }}',
    )
    keeper = ruleset.Keeper(places)
    _fetch(places, fragment=f"<ossec_config><{block}></{block}></ossec_config>")
    keeper.look(Duty(True, _COMMIT, lambda: True), 0, running=True)
    assert keeper.report.error == f"Wazuh refuses it: {daemon}: bad port"
    assert texts(places) == IMAGE


def test_given_a_restart_is_needed_when_it_is_not_the_unit_s_turn_then_it_waits(places, analysis):
    keeper = ruleset.Keeper(places)
    _fetch(places, rules__mine_xml="<group/>", sca__mine="policy:")
    for now in range(5):
        keeper.look(Duty(True, _COMMIT), now, running=True)
    assert (keeper.offer, keeper.tried) == (_COMMIT, "")
    assert texts(places) == IMAGE
    keeper.look(Duty(True, _COMMIT, lambda: True), 9, running=True)
    assert keeper.tried == _COMMIT
    assert "ruleset/sca/mine" in texts(places)


def test_given_another_unit_never_comes_when_the_time_is_over_then_this_one_goes_on(
    places, analysis
):
    keeper = ruleset.Keeper(places)
    _fetch(places, sca__mine="policy:")
    keeper.look(Duty(True, _COMMIT), 0, running=True)
    keeper.look(Duty(True, _COMMIT), 601, running=True)
    assert keeper.tried == _COMMIT


def test_given_a_commit_that_wazuh_does_not_start_with_when_reverted_then_it_is_not_tried_again(
    places, analysis
):
    keeper = ruleset.Keeper(places)
    _fetch(places, rules__mine_xml="<group/>")
    keeper.look(Duty(True, _COMMIT), 0, running=True)
    before = texts(places)
    _fetch(places, _NEXT, fragment="<ossec_config><x/></ossec_config>")
    keeper.look(Duty(True, _NEXT, lambda: True), 1, running=True)
    assert texts(places) != before
    assert configuration.revert(places)
    assert texts(places) == before
    assert not configuration.revert(places), "what is there now has started before"
    keeper.look(Duty(True, _NEXT, lambda: True), 2, running=True)
    assert keeper.report == ruleset.Report(_COMMIT, "Wazuh does not start with it")
    assert texts(places) == before


def test_given_a_file_changed_by_hand_when_looked_at_then_it_is_put_back_and_told(
    places, analysis
):
    keeper = ruleset.Keeper(places)
    _fetch(places, rules__mine_xml="<group/>", sca__mine="policy:")
    keeper.look(Duty(True, _COMMIT, lambda: True), 0, running=True)
    before = texts(places)
    (places.home / "etc/rules/mine.xml").write_text("<group>by hand</group>")
    (places.home / "ruleset/sca/mine").unlink()
    keeper.look(Duty(True, _COMMIT), 20, running=True)
    assert texts(places) == before
    assert keeper.report.mended == "etc/rules/mine.xml and 1 more"
    _fetch(places, _NEXT, rules__mine_xml="<group/>", sca__mine="policy:")
    keeper.look(Duty(True, _NEXT), 21, running=True)
    assert keeper.report.mended is None


def test_given_a_commit_that_is_not_there_when_placed_then_it_says_so(places, analysis):
    keeper = ruleset.Keeper(places)
    keeper.look(Duty(True, _COMMIT), 0, running=True)
    assert "not in the container" in (keeper.report.error or "")


def test_given_links_and_odd_names_when_read_then_they_are_left_out(places):
    _fetch(places, rules__fine_xml="<group/>", lists__compiled="x", other__x="x", rules__a__b="x")
    folder = places.repository / _COMMIT
    (folder / "rules/link.xml").symlink_to("/etc/passwd")
    (folder / "rules/-o.xml").write_text("<group/>")
    (folder / "lists/hosts.cdb").write_text("x")
    (folder / "groups").mkdir()
    (folder / "groups/ar.conf").write_text("x")
    assert set(bundle.read(places, _COMMIT).files) == {"lists/compiled", "rules/fine.xml"}


def test_given_a_bundle_when_handed_on_then_damage_is_noticed(places):
    _fetch(places, rules__mine_xml="<group/>", sca__mine="policy:")
    made = bundle.read(places, _COMMIT)
    text = bundle.dump(made)
    assert bundle.parse(text) == made
    for wrong in (
        "",
        "[]",
        "{}",
        text.replace(_COMMIT, "../../etc"),
        text.replace("sca/mine", "sca/../x"),
        text.replace("sca/mine", "etc/client.keys"),
        text.replace("PGdy", "AAAA"),
    ):
        with pytest.raises(bundle.BundleError):
            bundle.parse(wrong)


def test_given_a_bundle_on_the_volume_when_the_fetched_one_is_gone_then_it_is_still_there(places):
    _fetch(places, rules__mine_xml="<group/>")
    _apply(places)
    (places.repository / _COMMIT / "rules/mine.xml").unlink()
    assert bundle.read(places, _COMMIT).files == {"rules/mine.xml": b"<group/>"}
    (places.home / "etc/rules/mine.xml").unlink()
    configuration.restore(places, master=True)
    assert "etc/rules/mine.xml" in texts(places)


def test_given_a_watch_when_a_rule_changes_then_it_tells_once_it_is_stable(places, analysis):
    watch = ruleset.Watch(places)
    watch.started()
    assert not watch.changed()
    (places.home / "etc/rules/new.xml").write_text("<group/>")
    assert not watch.changed(), "it may still be being written"
    assert watch.changed()
    assert watch.reload() == []
    assert not watch.changed()


def test_given_a_watch_when_wazuh_compiles_a_list_then_nothing_is_reloaded(places):
    watch = ruleset.Watch(places)
    watch.started()
    (places.home / "etc/lists/hosts.cdb").write_text("compiled")
    assert not watch.changed()
    assert not watch.changed()


def test_given_a_keeper_when_nothing_changed_then_nothing_is_done(places, analysis):
    keeper = ruleset.Keeper(places)
    _fetch(places, rules__mine_xml="<group/>")
    keeper.look(Duty(True, _COMMIT), 0, running=True)
    loads = len(analysis.loads)
    for now in range(1, 40):
        keeper.look(Duty(True, _COMMIT), now, running=True)
    assert len(analysis.loads) == loads == 1


def test_given_a_keeper_on_a_worker_when_the_cluster_brings_rules_then_they_are_loaded(
    places, analysis
):
    keeper = ruleset.Keeper(places)
    keeper.look(Duty(), 0, running=False)
    (places.home / "etc/rules/copied.xml").write_text("<group/>")
    for now in range(1, 5):
        keeper.look(Duty(), now, running=True)
    assert len(analysis.loads) == 1
    assert "copied.xml" in analysis.loads[0]
