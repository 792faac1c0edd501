"""The Terraform modules, without Terraform and its provider: that they parse and fit together.

Read with an HCL parser. What the provider takes is the list below, from its published schema
(juju/juju 1 and 2, resources juju_application and juju_integration).
"""

import re
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = ("charm", "product")
_TAKEN = {
    "juju_application": {
        *{"name", "model_uuid", "charm", "config", "constraints", "resources", "trust", "units"},
        *{"storage_directives", "count"},
    },
    "juju_integration": {"model_uuid", "application", "count"},
}
_CHARM_TAKEN = {"name", "base", "channel", "revision"}


def _plain(value: Any) -> Any:
    """Drop the parser's own marks: quotes around names and strings, notes on places."""
    if isinstance(value, dict):
        return {
            str(k).strip('"'): _plain(v) for k, v in value.items() if not str(k).startswith("__")
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.strip('"') if isinstance(value, str) else value


def _blocks(module: str, kind: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted((ROOT / "terraform" / module).glob("*.tf")):
        with path.open() as text:
            found += _plain(hcl2.load(text)).get(kind, [])
    return found


def _named(module: str, kind: str) -> dict[str, dict[str, Any]]:
    return {name: about for block in _blocks(module, kind) for name, about in block.items()}


def _text(module: str) -> str:
    return "\n".join(p.read_text() for p in sorted((ROOT / "terraform" / module).glob("*.tf")))


@pytest.mark.parametrize("module", MODULES)
def test_given_a_module_when_parsed_then_all_that_it_uses_is_declared_and_the_other_way(
    module: str,
) -> None:
    variables = set(_named(module, "variable"))

    assert set(re.findall(r"\bvar\.(\w+)", _text(module))) == variables
    for name, about in (_named(module, "variable") | _named(module, "output")).items():
        assert about.get("description"), name


@pytest.mark.parametrize("module", MODULES)
def test_given_a_module_s_resources_when_read_then_the_provider_takes_their_arguments(
    module: str,
) -> None:
    assert _blocks(module, "resource")
    for block in _blocks(module, "resource"):
        for kind, named in block.items():
            for about in named.values():
                assert set(about) <= _TAKEN[kind]
                for charm in about.get("charm", []):
                    assert set(charm) <= _CHARM_TAKEN
    for block in _blocks(module, "terraform"):
        (needed,) = block["required_providers"]
        assert needed["juju"]["source"] == "juju/juju"


def test_given_the_product_when_it_calls_the_charm_s_module_then_each_argument_is_a_variable() -> (
    None
):
    called = _named("product", "module")["wazuh_server"]
    variables = _named("charm", "variable")

    assert called["source"] == "../charm"
    assert set(called) - {"source"} <= set(variables)
    needed = {name for name, about in variables.items() if "default" not in about}
    assert needed <= set(called)


def test_given_the_endpoints_the_product_relates_when_looked_for_then_the_charm_has_them() -> None:
    declared = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())
    named = re.findall(r"module\.wazuh_server\.(requires|provides)\.(\w+)", _text("product"))

    assert named
    for kind, name in named:
        assert name in declared[kind]


def test_given_the_charm_s_outputs_when_read_then_they_come_from_what_it_declares() -> None:
    path = re.search(r'file\("\$\{path\.module\}/([^"]+)"\)', _text("charm"))

    assert path is not None
    assert (ROOT / "terraform/charm" / path[1]).resolve() == ROOT / "charmcraft.yaml"
    assert "try(local.declared.provides, {})" in _text("charm")


def test_given_the_storage_when_validated_then_it_is_the_one_the_charm_has() -> None:
    declared = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())

    assert list(declared["storage"]) == ["data"]
    assert 'name == "data"' in _text("charm")


@pytest.mark.parametrize("module", MODULES)
def test_given_the_module_s_own_tests_when_parsed_then_they_plan_without_a_controller(
    module: str,
) -> None:
    (path,) = (ROOT / "terraform" / module / "tests").glob("*.tftest.hcl")
    with path.open() as text:
        found = _plain(hcl2.load(text))

    assert [name for block in found["mock_provider"] for name in block] == ["juju"]
    runs = {name: about for block in found["run"] for name, about in block.items()}
    assert len(runs) >= 2
    assert all(about["command"] == "plan" for about in runs.values())
    for about in runs.values():
        given = {k for block in about.get("variables", []) for k in block}
        assert given <= set(_named(module, "variable"))
