"""The options for `git+ssh` and the model's proxies: checked, handed on, never shown."""

import json

import ops
import pytest
from ops import testing

from tests.unit.charm.world import leader
from tests.unit.repository import servers

ADDRESS = "git+ssh://deploy@git.example.org:2222/team/rules@main"
FOLDER = "/etc/wazuh-server/repository"
KEY, HOSTS = f"{FOLDER}.key", f"{FOLDER}.known_hosts"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A key as people have it, and its host's line of known_hosts."""
    folder = tmp_path_factory.mktemp("keys")
    servers.make_key(folder / "key")
    servers.make_key(folder / "locked", "-t", "ed25519", "-N", "passphrase")
    public = " ".join((folder / "key.pub").read_text().split()[:2])
    return {
        "good": (folder / "key").read_text(),
        "locked": (folder / "locked").read_text(),
        "public": public,
        "host": f"[git.example.org]:2222 {public}",
    }


def _set(unit, address, hosts="", content=None):
    config = {"custom-config-repository": address, "custom-config-known-hosts": hosts}
    if content is not None:
        secret = testing.Secret(content, owner=None)
        config["custom-config-ssh-key"] = secret.id
        unit.configure(secrets={*unit.state.secrets, secret})
    unit.configure(config=config)
    unit.run("config_changed")


def test_given_key_and_host_when_set_then_only_the_fetching_user_gets_them(tmp_path, keys):
    unit = leader(tmp_path)

    _set(unit, ADDRESS, keys["host"], {"private-key": keys["good"].strip()})

    assert isinstance(unit.status, ops.ActiveStatus)
    assert json.loads(unit.read(f"{FOLDER}.json"))["url"] == (
        "ssh://deploy@git.example.org:2222/team/rules"
    )
    assert unit.read(KEY) == keys["good"]
    assert unit.read(HOSTS) == keys["host"] + "\n"
    modes = {path: (told["user"], told["permissions"]) for path, told in unit.pushes}
    assert modes[KEY] == ("wazuh-git", 0o400)
    assert modes[HOSTS] == ("root", 0o640)
    assert unit.calls["start_services"] == 1


def test_given_the_option_is_unset_when_the_master_runs_then_no_key_is_left(tmp_path, keys):
    unit = leader(tmp_path)
    _set(unit, ADDRESS, keys["host"], {"private-key": keys["good"]})

    unit.configure(config={})
    unit.run("config_changed")

    assert not unit.path(KEY).exists()
    assert not unit.path(HOSTS).exists()
    assert not unit.path(f"{FOLDER}.json").exists()


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ("", "git+ssh needs the host's public key"),
        ("# nothing but a comment", "there is no host's public key in it"),
        ("git.example.org", "line 1 is not `host type key`"),
        ("git.example.org ssh-ed25519 AAAA", "line 1 is not `host type key`"),
        ("git.example.org ssh-dss {key}", "line 1 is not `host type key`"),
        ("{host}\n-oProxyCommand=id", "line 2 is not `host type key`"),
        ("{host}\n" * 500, "longer than 32768 characters"),
    ],
)
def test_given_no_usable_host_key_when_set_then_it_is_blocked_and_nothing_is_fetched(
    tmp_path, keys, hosts, reason
):
    unit = leader(tmp_path)
    hosts = hosts.format(host=keys["host"], key=keys["public"].split()[1])

    _set(unit, ADDRESS, hosts, {"private-key": keys["good"]})

    assert unit.status.name == "blocked"
    assert unit.status.message.startswith(f"custom-config-known-hosts: {reason}")
    assert unit.calls["start_services"] == 0
    assert not unit.path(KEY).exists()
    _set(unit, ADDRESS, keys["host"], {"private-key": keys["good"]})
    assert isinstance(unit.status, ops.ActiveStatus)
    assert unit.calls["start_services"] == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "git+ssh needs a user secret"),
        ({"key-file": "x"}, 'the secret has no key "private-key"'),
        ({"private-key": ""}, "the private key is empty"),
        ({"private-key": "{locked}"}, "the private key is encrypted"),
        ({"private-key": "{public}"}, "this is a public key"),
        ({"private-key": "{crlf}"}, "the private key has Windows line ends"),
    ],
)
def test_given_no_usable_key_when_set_then_it_is_blocked_and_the_key_not_shown(
    tmp_path, keys, content, reason
):
    unit = leader(tmp_path)
    given = keys | {"crlf": keys["good"].replace("\n", "\r\n")}
    content = content and {name: text.format(**given) for name, text in content.items()}

    _set(unit, ADDRESS, keys["host"], content)

    assert unit.status.name == "blocked"
    assert unit.status.message.startswith(f"custom-config-ssh-key: {reason}")
    assert unit.calls["start_services"] == 0
    assert "AAAA" not in unit.status.message


def test_given_a_secret_that_is_not_there_when_set_then_it_is_blocked(tmp_path, keys):
    unit = leader(tmp_path)
    unit.configure(
        config={
            "custom-config-repository": ADDRESS,
            "custom-config-known-hosts": keys["host"],
            "custom-config-ssh-key": "secret:d1rhmnggvdfc7ba9mvlg",
        }
    )

    unit.run("config_changed")

    assert unit.status.message.startswith("custom-config-ssh-key: the secret ")


def test_given_a_secret_that_is_removed_later_when_told_then_what_is_served_stays_and_it_heals(
    tmp_path, keys
):
    unit = leader(tmp_path)
    _set(unit, ADDRESS, keys["host"], {"private-key": keys["good"]})
    request = json.loads(unit.read(f"{FOLDER}.json"))["request"]
    unit.stop("repository")
    unit.fetched(request=request, commit="a" * 40, error=None)
    unit.notice("wazuh-server.local/repository")
    before = unit.environment, unit.desired["generations"], unit.desired["ruleset"]
    given = unit.state.secrets

    lost = unit.state.config["custom-config-ssh-key"]
    unit.configure(secrets={secret for secret in given if secret.id != lost})
    unit.run("config_changed")

    assert unit.status.name == "blocked"
    assert unit.status.message.startswith("custom-config-ssh-key: the secret ")
    assert (unit.environment, unit.desired["generations"], unit.desired["ruleset"]) == before
    assert unit.calls["start_services"] == 0
    unit.configure(secrets=given)
    unit.run("config_changed")
    assert isinstance(unit.status, ops.ActiveStatus)
    assert unit.desired["ruleset"] == {"commit": "a" * 40}


def test_given_another_key_in_the_secret_when_it_changes_then_it_is_fetched_again(tmp_path, keys):
    unit = leader(tmp_path)
    _set(unit, ADDRESS, keys["host"], {"private-key": keys["good"]})
    before = json.loads(unit.read(f"{FOLDER}.json"))["request"]
    unit.stop("repository")
    servers.make_key(tmp_path / "another")

    _set(unit, ADDRESS, keys["host"], {"private-key": (tmp_path / "another").read_text()})

    assert json.loads(unit.read(f"{FOLDER}.json"))["request"] != before
    assert unit.calls["start_services"] == 1


def test_given_proxies_of_the_model_when_fetched_then_git_gets_them(tmp_path, monkeypatch):
    monkeypatch.setenv("JUJU_CHARM_HTTPS_PROXY", "http://user:hunter22@proxy.example.org:3128")
    monkeypatch.setenv("JUJU_CHARM_NO_PROXY", "10.0.0.0/8,.svc")
    unit = leader(tmp_path)

    _set(unit, "git+https://git.example.org/rules")

    assert json.loads(unit.read(f"{FOLDER}.json"))["proxies"] == {
        "https_proxy": "http://user:hunter22@proxy.example.org:3128",
        "no_proxy": "10.0.0.0/8,.svc",
    }
    assert "hunter22" not in unit.read("/etc/wazuh-server/desired.json")
    assert "hunter22" not in json.dumps(unit.container.plan.to_dict())
    assert "hunter22" not in json.dumps(unit.databag)


@pytest.mark.parametrize(
    "proxy", ["proxy:3128", "socks5://p:1", "http://", "http://p:x", "http://a b"]
)
def test_given_a_proxy_that_is_none_when_fetched_then_the_model_s_option_is_named(
    tmp_path, monkeypatch, proxy
):
    monkeypatch.setenv("JUJU_CHARM_HTTP_PROXY", proxy)
    unit = leader(tmp_path)

    _set(unit, "git+http://git.example.org/rules")

    assert unit.status.message.startswith("juju-http-proxy: not the address of")
    assert unit.calls["start_services"] == 0


def test_given_an_error_of_ssh_when_told_then_its_own_option_is_named(tmp_path, keys):
    unit = leader(tmp_path)
    _set(unit, ADDRESS, keys["host"], {"private-key": keys["good"]})
    request = json.loads(unit.read(f"{FOLDER}.json"))["request"]
    unit.stop("repository")
    result = {"request": request, "commit": None, "error": "no key of the host is in it"}

    unit.fetched(**result, option="custom-config-known-hosts")
    unit.notice("wazuh-server.local/repository")
    assert unit.status.message == "custom-config-known-hosts: no key of the host is in it"
    unit.fetched(**result, option="agent-password")
    unit.notice("wazuh-server.local/repository")
    assert unit.status.message == "custom-config-repository: no key of the host is in it"


@pytest.mark.parametrize("commit", ["../../etc", "0123", "g" * 40, "a" * 40 + "\n", 7])
def test_given_a_commit_that_is_none_when_told_then_it_is_not_served(tmp_path, commit):
    unit = leader(tmp_path)
    _set(unit, "git+https://git.example.org/rules")
    request = json.loads(unit.read(f"{FOLDER}.json"))["request"]
    unit.stop("repository")
    unit.fetched(request=request, commit=commit, error=None)

    unit.notice("wazuh-server.local/repository")

    assert unit.desired["ruleset"] == {"commit": None}
