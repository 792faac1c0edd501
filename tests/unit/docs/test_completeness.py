"""All that charmcraft.yaml declares has a test and a page; the pages are current."""

import ast
import hashlib
import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from src import files, hardening, relations, secrets, state

ROOT = Path(__file__).resolve().parents[3]
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Of Apache-2.0 as apache.org gives it, without white space around it: what the listing compares.
_APACHE = (
    "fdae7ed259455ca9fa45939e7f25cbb4de29831cda16d9151de25a5f6e9d9be4"
    "3b053f4fd3b896026239fca77abce04f543d591c501ecf4ce18c854bc0a51660"
)
_DECLARED = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())
_KINDS = {
    "option": _DECLARED.get("config", {}).get("options", {}),
    "action": _DECLARED.get("actions", {}),
    "endpoint": {
        name: about
        for kind in ("peers", "provides", "requires")
        for name, about in (_DECLARED.get(kind) or {}).items()
    },
    "storage": _DECLARED.get("storage", {}),
    "resource": _DECLARED.get("resources", {}),
}
_ALL = [(kind, name) for kind, found in _KINDS.items() for name in found]
_OF_PEOPLE = [
    (kind, name)
    for kind, name in _ALL
    if kind in {"option", "action", "endpoint"} and name not in _DECLARED["peers"]
]


def _module(name: str) -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


#: What the deployed application is not asked for, why, and where it is tested.
_NOT_DEPLOYED = {
    **dict.fromkeys(
        (
            "service-type",
            "service-annotations",
            "external-traffic-policy",
            "service-source-ranges",
        ),
        ("needs a load balancer, or Kubernetes' API", "tests/unit/charm/test_service.py"),
    ),
    "harden-network": ("needs Kubernetes' API and trust", "tests/unit/charm/test_hardening.py"),
    "custom-config-ssh-key": (
        "needs a host that takes the key: a real sshd does",
        "tests/unit/repository/test_ssh.py",
    ),
    "logs-ca-cert": (
        "needs senders of another authority: a real rsyslogd is one",
        "tests/unit/charm/test_logs_ca_cert.py",
    ),
}


def _trees(folder: Path) -> list[ast.Module]:
    """Return all tests of a folder but this one's."""
    found = [path for path in folder.rglob("test_*.py") if path.parent != Path(__file__).parent]
    return [ast.parse(path.read_text()) for path in found]


def _used(trees: list[ast.Module]) -> set[str]:
    """Return what tests set, run or look into, and not what their words happen to be.

    That is: arguments of calls, keys of tables and of lookups, items of lists, the tables' own
    keywords, and constants of the charm that hold a name.
    """
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Call():
                found |= set(_texts(node.args))
                found |= {word.arg.replace("_", "-") for word in node.keywords if word.arg}
                found |= set(_texts([word.value for word in node.keywords]))
            case ast.Dict():
                found |= set(_texts([key for key in node.keys if key]))
            case ast.List() | ast.Tuple() | ast.Set():
                found |= set(_texts(node.elts))
            case ast.Subscript():
                found |= set(_texts([node.slice]))
            case ast.Assign():
                found |= set(_texts([node.value]))
    return found


def _texts(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Constant(value=str(text)):
                # As on a command line: name=value, application:endpoint.
                yield text.partition("=")[0].rpartition(":")[2]
            case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
                yield text.partition("=")[0].rpartition(":")[2]
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                value = getattr(_CONSTANTS.get(module), name, None)
                if isinstance(value, str):
                    yield value


_CONSTANTS = {"relations": relations, "state": state, "hardening": hardening}


@pytest.fixture(scope="module")
def pages() -> Mapping[str, str]:
    """The pages made from what is declared, by name."""
    return _module("references").pages()


@pytest.fixture(scope="module")
def tested() -> set[str]:
    """All names that tests use."""
    return _used(_trees(ROOT / "tests"))


@pytest.fixture(scope="module")
def deployed() -> set[str]:
    """All names that tests of the deployed application use."""
    return _used(_trees(ROOT / "tests/integration"))


def _entries(text: str) -> set[str]:
    """Return what a page tells how to use: what a command names, and what a table is about."""
    found: set[str] = set()
    fenced = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    for block in (*fenced, *re.findall(r"^ {4}juju .*", text, re.MULTILINE)):
        found |= set(re.findall(r"(?:^|[\s:])([a-z][a-z0-9-]*)(?==|\s|$)", block))
    for line in text.splitlines():
        if line.startswith("| `"):
            found |= set(re.findall(r"`([a-z0-9-]+)`", line.split("|")[1]))
        if line.startswith(("#", "- `")):
            found |= set(re.findall(r"`([a-z0-9-]+)`", line))
        found |= set(
            re.findall(r"`juju (?:run|config|integrate) [^`]*?([a-z-]+)(?:=[^`]*)?`", line)
        )
    return found


@pytest.fixture(scope="module")
def written() -> set[str]:
    """What the pages tell that are written by hand for people with a task."""
    pages = (ROOT / "docs/how-to").glob("*.md")
    return {name for page in pages for name in _entries(page.read_text())}


@pytest.mark.parametrize(("kind", "name"), _ALL)
def test_given_what_is_declared_when_tests_are_searched_then_one_uses_it(
    tested: set[str], kind: str, name: str
) -> None:
    assert name in tested, f"no test uses the {kind} {name}"


@pytest.mark.parametrize(("kind", "name"), _OF_PEOPLE)
def test_given_what_people_use_when_deployed_then_a_test_uses_it_or_says_where_another_does(
    deployed: set[str], kind: str, name: str
) -> None:
    if name in _NOT_DEPLOYED:
        _, where = _NOT_DEPLOYED[name]
        assert name in _used([ast.parse((ROOT / where).read_text())]), f"{where}: no {kind} {name}"
        assert name not in deployed, f"{name} is used: take it from the list"
    else:
        assert name in deployed, f"no test in tests/integration uses the {kind} {name}"


def test_given_words_about_a_name_when_searched_then_they_are_neither_a_test_nor_an_entry() -> (
    None
):
    talk = ast.parse(
        'def test_x():\n    """Of log-level."""\n    assert x != "log-level"  # log-level'
    )
    use = ast.parse('def test_x():\n    driver.config({"log-level": "debug"})')

    assert "log-level" not in _used([talk])
    assert "log-level" in _used([use])
    assert _entries("The option `log-level` is a word here.") == set()
    assert "log-level" in _entries("| `log-level` (info) | info |")
    assert "log-level" in _entries("```\njuju config wazuh-server log-level=debug\n```")


@pytest.mark.parametrize(("kind", "name"), _ALL)
def test_given_what_is_declared_when_references_are_made_then_they_describe_it(
    pages: Mapping[str, str], kind: str, name: str
) -> None:
    text = "\n".join(pages.values())
    about = _KINDS[kind][name]

    assert f"`{name}`\n" in text
    if kind != "endpoint" or name not in _DECLARED["peers"]:
        assert len(about.get("description", "")) > 20, f"{kind} {name} has no description"
    for parameter, of in about.get("params", {}).items():
        assert f"`{parameter}`" in text
        assert of.get("description"), f"{name} {parameter} has no description"


@pytest.mark.parametrize(("kind", "name"), _OF_PEOPLE)
def test_given_what_people_use_when_pages_are_searched_then_a_how_to_tells_it(
    written: set[str], kind: str, name: str
) -> None:
    assert name in written, f"no page in docs/how-to tells how to use the {kind} {name}"


def test_given_the_application_s_secrets_when_the_page_is_read_then_it_says_what_each_allows() -> (
    None
):
    page = (ROOT / "docs/reference/secrets.md").read_text()

    for label in (*secrets.LABELS, *secrets.OPTIONAL_LABELS, *secrets.LEADERS_LABELS):
        assert f"| `{label}` |" in page


def test_given_the_ports_when_the_page_is_read_then_it_has_each() -> None:
    page = (ROOT / "docs/reference/ports.md").read_text()

    for port in files.PORTS:
        assert f"| {port} |" in page


def test_given_the_sentences_of_statuses_when_references_are_made_then_each_is_there(
    pages: Mapping[str, str],
) -> None:
    page = pages["statuses.md"]

    for sentence in ("starting Wazuh", "master of <", "worker of <", "no connection to"):
        assert sentence in page
    assert page.count("\n| ") > 20


def test_given_the_pictures_when_drawn_again_then_those_kept_are_current() -> None:
    for name, content in _module("pictures").drawn().items():
        kept = (ROOT / "docs/pictures" / name).read_text()
        assert kept == content, f"{name} is old: run python docs/pictures.py"


@pytest.mark.parametrize(("kind", "name"), _ALL)
def test_given_a_name_when_read_then_it_is_lower_case_with_dashes(kind: str, name: str) -> None:
    assert _NAME.fullmatch(name), f"{kind} {name}"


def test_given_endpoints_and_actions_when_read_then_nothing_is_left_to_a_default() -> None:
    for kind in ("requires", "provides"):
        for name, endpoint in (_DECLARED.get(kind) or {}).items():
            assert endpoint.get("optional") is True, f"{name}: only the peer relation is needed"
    for name, action in _DECLARED["actions"].items():
        assert action.get("additionalProperties") is False, name


def test_given_the_listing_s_links_when_read_then_files_of_ours_are_there() -> None:
    links: dict[str, Any] = _DECLARED["links"]

    assert set(links) == {"contact", "documentation", "issues", "source", "website"}
    inside = re.findall(rf"{re.escape(links['source'])}/blob/main/([\w./-]+)", str(links))
    assert inside
    assert [path for path in inside if not (ROOT / path).exists()] == []
    for name in ("CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CHANGELOG.md", "icon.svg"):
        assert (ROOT / name).stat().st_size > 0


def test_given_the_licence_when_compared_then_it_is_apache_2_word_for_word() -> None:
    text = (ROOT / "LICENSE").read_text().strip()

    assert hashlib.sha512(text.encode()).hexdigest() == _APACHE


def test_given_the_icon_when_read_then_it_is_a_square_of_100() -> None:
    icon = (ROOT / "icon.svg").read_text()

    assert re.search(r'<svg[^>]* width="100" height="100" viewBox="0 0 100 100"', icon)


def test_given_links_between_files_when_followed_then_each_leads_to_a_file() -> None:
    lost = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", page.read_text())
        if "generated" not in target and not (page.parent / target).exists()
    ]

    assert lost == []


def test_given_a_ref_to_a_file_of_ours_when_pages_name_it_then_it_is_there() -> None:
    named = set()
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        named |= set(
            re.findall(r"`((?:tests|src|rock|sandbox|\.github)/[\w./-]+)`", page.read_text())
        )

    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
