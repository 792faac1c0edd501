"""All that charmcraft.yaml declares has a test and a page; the pages are current."""

import hashlib
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from src import files, secrets

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


def _module(name: str) -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def tests() -> str:
    """All tests but this package's, and the demo, whose every line is a test's."""
    folders = [ROOT / "tests", ROOT / "sandbox/demo"]
    found = [path for folder in folders for path in folder.rglob("*.py")]
    return "\n".join(path.read_text() for path in found if Path(__file__).parent != path.parent)


@pytest.fixture(scope="module")
def written() -> str:
    """All pages written by hand."""
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "generated" not in path.parts]
    return "\n".join(path.read_text() for path in pages)


def _mentions(text: str, name: str) -> bool:
    """Say whether a name stands in a text as a word, as itself or as Python writes it."""
    forms = {name, name.replace("-", "_")}
    return any(re.search(rf"(?<![\w-]){re.escape(form)}(?![\w-])", text) for form in forms)


@pytest.mark.parametrize(("kind", "name"), _ALL)
def test_given_what_is_declared_when_tests_are_searched_then_one_names_it(
    tests: str, kind: str, name: str
) -> None:
    assert _mentions(tests, name), f"no test names the {kind} {name}"


@pytest.mark.parametrize(("kind", "name"), _ALL)
def test_given_what_is_declared_when_references_are_made_then_they_describe_it(
    kind: str, name: str
) -> None:
    pages = "\n".join(_module("references").pages().values())
    about = _KINDS[kind][name]

    assert f"`{name}`\n" in pages
    if kind != "endpoint" or name not in _DECLARED["peers"]:
        assert len(about.get("description", "")) > 20, f"{kind} {name} has no description"
    for parameter, of in about.get("params", {}).items():
        assert f"`{parameter}`" in pages
        assert of.get("description"), f"{name} {parameter} has no description"


@pytest.mark.parametrize(
    ("kind", "name"), [pair for pair in _ALL if pair[0] in {"option", "action", "endpoint"}]
)
def test_given_what_people_use_when_pages_are_searched_then_one_written_by_hand_names_it(
    written: str, kind: str, name: str
) -> None:
    if name not in _DECLARED["peers"]:
        assert _mentions(written, name), f"no page in docs/ names the {kind} {name}"


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


def test_given_the_sentences_of_statuses_when_references_are_made_then_each_is_there() -> None:
    page = _module("references").pages()["statuses.md"]

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
