"""Imports of src point downwards only, and a quiet hook loads nothing that costs."""

import ast
import subprocess
import sys

import pytest

from tests.unit.charm.world import ROOT

ALLOWED = {
    "digests": set(),
    "cluster": set(),
    "repository": set(),
    "deploy_key": set(),
    "hosts": set(),
    "options": {"hosts"},
    "origin": {"deploy_key", "repository"},
    "certificates": set(),
    "rotation": set(),
    "secrets": {"certificates", "digests", "rotation"},
    "exposure": set(),
    "overview": {"values"},
    "values": set(),
    "enrolment": set(),
    "kubernetes": {"cluster", "exposure", "hosts"},
    "hardening": {"cluster", "digests"},
    "relations": {"digests"},
    "relations.wazuh_api": {"cluster", "relations"},
    "relations.ingress": {"cluster", "digests", "relations"},
    "relations.certificates": {"certificates", "relations"},
    "relations.lent": {"relations"},
    "relations.opencti_connector": {"hosts", "relations", "relations.lent"},
    "relations.opensearch": {"certificates", "hosts", "relations", "relations.lent"},
    "filebeat": {"secrets"},
    "api_certificate": {
        "certificates",
        "cluster",
        "digests",
        "relations",
        "relations.certificates",
        "secrets",
    },
    "network": {
        "api_certificate",
        "cluster",
        "relations",
        "relations.certificates",
        "relations.ingress",
        "relations.opencti_connector",
        "relations.opensearch",
        "relations.wazuh_api",
        "secrets",
    },
    "files": {"cluster", "digests", "filebeat", "options", "origin", "repository", "secrets"},
    "state": {"exposure", "hardening", "cluster", "deploy_key", "origin", "rotation", "secrets"},
    "wazuh": {"files", "origin", "values"},
    "senders": {"certificates", "secrets"},
    "master_state": {"picture", "secrets"},
    "picture": {
        "hardening",
        "certificates",
        "cluster",
        "exposure",
        "digests",
        "files",
        "network",
        "options",
        "origin",
        "relations",
        "rotation",
        "secrets",
        "state",
        "wazuh",
    },
    "status": {
        "cluster",
        "enrolment",
        "files",
        "origin",
        "picture",
        "relations",
        "rotation",
        "state",
        "wazuh",
    },
    "occasion": {"rotation", "state"},
    "leader": {
        "files",
        "hardening",
        "cluster",
        "exposure",
        "kubernetes",
        "network",
        "occasion",
        "picture",
        "relations",
        "rotation",
        "secrets",
        "state",
    },
    "actions": {
        "cluster",
        "enrolment",
        "occasion",
        "overview",
        "picture",
        "rotation",
        "secrets",
        "senders",
        "wazuh",
    },
    "charm": {
        "actions",
        "cluster",
        "files",
        "leader",
        "master_state",
        "occasion",
        "picture",
        "relations",
        "rotation",
        "secrets",
        "state",
        "status",
        "wazuh",
    },
}
PURE = (
    "cluster",
    "files",
    "picture",
    "certificates",
    "digests",
    "repository",
    "origin",
    "deploy_key",
    "rotation",
    "hardening",
)


def _path(name):
    path = ROOT / "src" / name.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(name):
    """Every module a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(_path(name).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "src":
            yield from (f"src.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_given_src_when_listed_then_every_module_has_its_place():
    paths = (path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.py"))
    named = {".".join(path.with_suffix("").parts) for path in paths}
    modules = {name.removesuffix(".__init__") for name in named} - {"__init__"}

    assert modules == set(ALLOWED)


@pytest.mark.parametrize("name", ALLOWED)
def test_given_a_module_when_its_imports_are_read_then_they_point_downwards(name):
    found = {module.removeprefix("src.") for module in _imports(name) if module.startswith("src.")}

    assert found <= ALLOWED[name]


@pytest.mark.parametrize("name", PURE)
def test_given_a_pure_module_when_its_imports_are_read_then_it_knows_no_juju(name):
    assert not [module for module in _imports(name) if module.split(".")[0] == "ops"]


def test_given_the_charm_when_imported_then_costly_libraries_are_not():
    code = "import sys, src.charm; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert "ops" in loaded
    assert not {
        "pydantic",
        "lightkube",
        "httpx",
        "jinja2",
        "cryptography",
        "requests",
        "tenacity",
    } & set(loaded)


def test_given_the_charms_own_secrets_module_when_dispatched_then_pythons_is_not_hidden():
    code = "import secrets; print(secrets.token_hex(4))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=ROOT / "src",
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(done.stdout.strip()) == 8
