"""Nobody of ours talks to a server that it did not recognise."""

import re

from tests.unit.charm.world import ROOT

_OFF = re.compile(r"verify\s*=\s*False|_create_unverified_context|curl[^\n]*(\s-k\s|--insecure)")


def _sources():
    return [*(ROOT / "src").rglob("*.py"), *(ROOT / "rock").rglob("*.py")]


def test_given_our_sources_when_read_then_verification_is_never_switched_off():
    assert not [path for path in _sources() if _OFF.search(path.read_text())]


def test_given_a_client_without_names_to_check_when_read_then_it_compares_the_certificate():
    # The API is called on the loopback, and peers by their pods: no name fits either.
    unnamed = [path for path in _sources() if "CERT_NONE" in path.read_text()]

    assert [path.name for path in unnamed] == ["users.py"]
    for path in unnamed:
        text = path.read_text()
        assert "getpeercert(binary_form=True)" in text
        assert text.index("self._recognise(connection)") < text.index("connection.request(")
