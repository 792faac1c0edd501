from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.wazuh_stand_in.framework.wazuh.stand_in import api_settings, configuration
from sandbox.wazuh_stand_in.framework.wazuh.stand_in.configuration import (
    ConfigurationError,
    Settings,
)
from tests.unit.stand_in.nodes import CLUSTER, KEY

GOOD = {
    "name": "node-1",
    "kind": "worker",
    "key": KEY,
    "cluster_port": "1516",
    "master": "wazuh-server-0.example",
    "cluster_name": "wazuh",
}


def settings(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "ossec.conf"
    path.write_text(text)
    return configuration.read(path)


def block(**changes: str) -> str:
    text = CLUSTER.format(**{**GOOD, **changes})
    return f"<ossec_config>\n{text}\n</ossec_config>\n"


def test_given_a_minified_cluster_block_when_read_by_the_daemons_then_a_worker_is_a_master(
    tmp_path: Path,
) -> None:
    minified = "".join(line.strip() for line in block().splitlines())

    read = settings(minified, tmp_path)

    assert configuration.is_worker(settings(block(), tmp_path))
    assert not configuration.is_worker(read)
    cluster = configuration.cluster(read)
    assert cluster is not None
    assert cluster.kind == "worker"


def test_given_several_roots_and_comments_when_read_then_all_their_sections_count(
    tmp_path: Path,
) -> None:
    text = (
        "<?xml version='1.0'?>\n<!-- one -->\n<ossec_config><global><logall>no</logall>"
        "</global></ossec_config>\n" + block()
    )

    read = settings(text, tmp_path)

    assert read.value("global", "logall") == "no"
    cluster = configuration.cluster(read)
    assert cluster is not None
    assert cluster.nodes == ["wazuh-server-0.example"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": ""}, "Unspecified key"),
        ({"key": "short"}, "Key must be 32 characters long"),
        ({"key": "-" * 32}, "Key must be 32 characters long"),
        ({"kind": "chief"}, "Invalid node type chief"),
        ({"cluster_port": "80"}, "Port must be higher"),
        ({"cluster_port": "many"}, "Port has to be an integer"),
        ({"master": "localhost"}, "Invalid elements in node fields: localhost"),
        ({"master": "127.0.1.1"}, "Invalid elements in node fields: 127.0.1.1"),
    ],
)
def test_given_a_bad_cluster_block_when_checked_then_the_error_says_what_is_wrong(
    tmp_path: Path,
    change: dict[str, str],
    sentence: str,
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        configuration.cluster(settings(block(**change), tmp_path))


def test_given_broken_xml_when_read_then_the_error_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="line 3"):
        settings("<ossec_config>\n<global>\n</ossec_config>\n", tmp_path)


def test_given_internal_options_when_read_then_the_local_file_goes_first(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/internal_options.conf").write_text("a.b=1\nc.d = 2\n")
    (tmp_path / "etc/local_internal_options.conf").write_text("a.b=3\n")

    found = [configuration.internal_option(tmp_path, name, 9) for name in ("a.b", "c.d", "e.f")]

    assert found == [3, 2, 9]


def test_given_api_yaml_when_read_then_values_and_defaults_are_the_real_ones() -> None:
    text = (
        "# comment\nhost: ['127.0.0.1', '::']\nport: 55001\nhttps:\n  enabled: yes\n"
        '  key: "server.key"\n  cert: unit.crt  # mine\naccess:\n  max_login_attempts: 7\n'
        "cors:\n  enabled: no\nlogs:\n  level: info\n  format: plain\n"
    )

    read = api_settings.ApiSettings(api_settings.parse(text))

    assert (read.hosts, read.port) == (["127.0.0.1", "::"], 55001)
    assert (read.key, read.certificate) == ("server.key", "unit.crt")
    assert (read.login_attempts, read.block_seconds, read.requests_per_minute) == (7, 300, 300)


@pytest.mark.parametrize(
    "text",
    [
        "colour: red\n",
        "https:\n  key: ../server.key\n",
        "https:\n  cert: /etc/x\n",
        "port: x\n",
        "just words\n",
    ],
)
def test_given_a_bad_api_yaml_when_read_then_it_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "api.yaml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match="Configuration not valid"):
        api_settings.read(path)


SCALARS = st.one_of(
    st.integers(-9999, 9999),
    st.booleans(),
    st.from_regex(r"[a-z][a-z0-9_./]{0,9}", fullmatch=True).filter(
        lambda word: word not in ("yes", "no", "true", "false")
    ),
)
NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(
    lambda word: word not in ("yes", "no", "true", "false")
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.dictionaries(NAMES, inner, min_size=1, max_size=3)
        | st.lists(SCALARS, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def written(value: object, depth: int) -> str:
    pad = "  " * depth
    if isinstance(value, dict):
        return "\n" + "".join(
            f"{pad}{name}:{written(inner, depth + 1)}" for name, inner in value.items()
        )
    if isinstance(value, list):
        return "\n" + "".join(f"{pad}- {str(inner).lower()}\n" for inner in value)
    return f" {str(value).lower()}\n"


@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=4))
def test_given_any_written_mapping_when_parsed_then_it_is_the_same(value: dict) -> None:
    assert api_settings.parse(written(value, 0).lstrip("\n")) == value
