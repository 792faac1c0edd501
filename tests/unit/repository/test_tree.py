"""Which names of a commit are taken, passed over or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository.places import Limits, RefusedError
from repository.tree import Entry, select


def entry(path: bytes, mode: str = "100644") -> Entry:
    return Entry(mode, "0" * 40, 1, path)


@pytest.mark.parametrize(
    "path",
    [b"rules/a.xml", b"decoders/local_decoder.xml", b"rules/A-1.2.XML", b"lists/a", b"lists/a.b"],
)
def test_given_a_plain_name_when_selected_then_it_is_taken(path):
    assert select([entry(path)], Limits()).keys() == {path.decode()}


@pytest.mark.parametrize(
    "path",
    [
        b"a.xml",
        b"README.md",
        b"etc/rules/a.xml",
        b"rules/a.txt",
        b"rules/.hidden.xml",
        b"rules/old/a.xml",
        b"rules/a.xml~",
        b"lists/a.cdb",
        b"lists/a.swp",
        b"shared/default/agent.conf",
    ],
)
def test_given_what_concerns_nobody_when_selected_then_it_is_passed_over(path):
    assert select([entry(path), entry(b"rules/b.xml")], Limits()).keys() == {"rules/b.xml"}


@pytest.mark.parametrize(
    "path",
    [
        b"rules/a b.xml",
        b"rules/a\nb.xml",
        b"rules/\xff.xml",
        b"rules/-x.xml",
        b"rules/../../etc/passwd.xml",
        b"rules//a.xml",
        b"rules/" + b"a" * 130 + b".xml",
        b"lists/$(id)",
        b"lists/a\x1b[0m",
    ],
)
def test_given_a_name_that_is_not_plain_when_selected_then_it_is_refused(path):
    with pytest.raises(RefusedError) as caught:
        select([entry(path), entry(b"rules/b.xml")], Limits())

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("mode", ["120000", "160000", "040000", "100600", "020666"])
def test_given_no_regular_file_when_selected_then_it_is_refused(mode):
    with pytest.raises(RefusedError, match=r"^rules/a\.xml is no regular file$"):
        select([entry(b"rules/a.xml", mode)], Limits())


def test_given_nothing_to_take_when_selected_then_what_is_looked_for_is_named():
    with pytest.raises(RefusedError, match="no files in rules"):
        select([entry(b"README.md")], Limits())


@given(st.lists(st.binary(max_size=30).map(lambda end: b"rules/" + end)))
def test_given_any_names_when_selected_then_paths_stay_plain(paths):
    try:
        taken = select([entry(path) for path in paths], Limits())
    except RefusedError:
        return
    for path in taken:
        folder, name = path.split("/")
        assert folder == "rules"
        assert name.isascii()
        assert name not in (".", "..")


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        (b"rules/a.xml", True),
        (b"decoders/a.XML", True),
        (b"lists/hosts", True),
        (b"groups/web/agent.conf", True),
        (b"groups/web/deep/agent.conf", False),
        (b"groups/agent.conf", False),
        (b"integrations/custom-chat.py", True),
        (b"active-response/block.sh", True),
        (b"sca/mine.yml", True),
        (b"sca/mine.yaml", True),
        (b"sca/README.md", False),
        (b"ossec.conf", True),
        (b"etc/ossec.conf", False),
        (b"docs/rules/a.xml", False),
        (b"groups/.hidden/x", False),
        (b"groups/web/x.lock", False),
    ],
)
def test_given_a_place_when_selected_then_it_is_taken_where_it_has_a_kind(path, taken):
    entries = [entry(b"rules/always.xml"), entry(path)]

    found = set(select(entries, Limits())) - {"rules/always.xml"}

    assert found == ({path.decode()} if taken and path != b"rules/always.xml" else set())


@pytest.mark.parametrize(
    "path",
    [
        b"groups/../x/agent.conf",
        b"groups/we b/agent.conf",
        b"groups/-x/agent.conf",
        b"integrations/cust\nom-a",
        b"active-response/\xff",
        b"integrations/slack",
    ],
)
def test_given_a_name_that_is_none_of_its_kind_when_selected_then_it_is_refused(path):
    with pytest.raises(RefusedError, match=r"not plain|must begin with custom-"):
        select([entry(path)], Limits())


@pytest.mark.parametrize("mode", ["120000", "160000"])
@pytest.mark.parametrize("path", [b"ossec.conf", b"groups/web/agent.conf", b"active-response/x"])
def test_given_a_link_or_submodule_in_any_kind_when_selected_then_it_is_refused(path, mode):
    with pytest.raises(RefusedError, match="is no regular file"):
        select([entry(path, mode)], Limits())


@pytest.mark.parametrize(
    "name", ["client.keys", "merged.mg", "ar.conf", "authd.pass", "sslmanager.key", "api.yaml"]
)
def test_given_a_file_of_ours_anywhere_when_selected_then_it_is_refused_by_name(name):
    with pytest.raises(RefusedError, match=f"holds {name}, which only this application makes"):
        select([entry(b"rules/a.xml"), entry(f"groups/web/{name}".encode())], Limits())
