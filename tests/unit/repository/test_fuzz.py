"""Anything as an address, as XML, as a list of files: taken or refused in a line, never an error.

`python -m tests.unit.repository.test_fuzz --cases 10000 --seed 7` runs each property so often.
"""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import suppress

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from repository.content import check
from repository.places import Limits, RefusedError
from repository.run import read_request
from repository.tree import FRAGMENT, Entry, select
from supervisor import bundle, configuration

from src.origin import REPOSITORY, Origin
from tests.unit.repository import os_xml

CONF = b"<ossec_config>\n  <cluster>\n    <key>k</key>\n  </cluster>\n</ossec_config>\n"
_SECRET = "Tr0ub4dorAnd3"
_OURS = {"cluster", "auth", "indexer", "email_notification"}

# Addresses ------------------------------------------------------------------------------------

_PIECES = [
    *("git+https://", "git+http://", "git+ssh://", "git+", "https://", "ext::", "file:///", "://"),
    *("host", "192.0.2.1", "[::1]", "[", "]", ":", ":22", ":99999", "/", "//", "..", "/a.git"),
    *("@", "@main", "@-x", "@{1}", "#", "#subdirectory=", "#subdirectory=a/b", "?", "%0a", "%2e"),
    *(
        "-oProxyCommand=id",
        "--upload-pack=x",
        f"u:{_SECRET}@",
        " ",
        "\n",
        "\t",
        "\0",
        "é",
        "\ud800",
    ),
]
addresses = st.one_of(
    st.lists(st.sampled_from(_PIECES) | st.text(max_size=4), max_size=12).map("".join),
    st.text(max_size=80),
    st.text(max_size=60).map("git+https://host/".__add__),
)


@given(address=addresses)
def test_given_any_address_when_read_then_git_gets_a_plain_one_or_the_option_a_reason(address):
    reading = Origin(address=address).read()

    if reading.source is None:
        assert not address or set(reading.problems)
        for option, reason in reading.problems.items():
            assert option.startswith("custom-config-")
            assert reason.isprintable()
            assert len(reason) < 200
            assert option != REPOSITORY or _SECRET not in reason
        return
    source = reading.source
    for word in (source.url, source.ref or "x", source.subdirectory or "x"):
        assert not word.startswith("-")
        assert word.isascii()
        assert word.isprintable()
        assert " " not in word
    assert source.url.startswith(("https://", "http://", "ssh://"))
    assert _SECRET not in source.url.partition("://")[2].partition("/")[0]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "request": values,
        "url": addresses | values,
        "ref": values,
        "subdirectory": values,
        "proxies": values,
    },
)


class _File:
    """Stands in for the charm's file."""

    def __init__(self, data: bytes):
        self.data = data

    def read_bytes(self) -> bytes:
        return self.data


@given(data=st.binary(max_size=60) | requests.map(lambda value: json.dumps(value).encode()))
def test_given_any_request_when_read_then_it_is_one_of_the_charm_s_or_a_value_error(data):
    try:
        request = read_request(_File(data))  # pyright: ignore[reportArgumentType]
    except ValueError:
        return
    assert request.url.startswith(("https://", "http://", "ssh://"))
    assert not (request.ref or "").startswith("-")


# Content --------------------------------------------------------------------------------------

_TAGS = [
    *(
        "<group name='a'>",
        "</group>",
        "<rule id='1'>",
        "</rule>",
        "<ossec_config>",
        "</ossec_config>",
    ),
    *(
        "<cluster>",
        "< cluster>",
        "</cluster>",
        "<CLUSTER/>",
        "<auth>",
        "<indexer",
        "<integration>",
    ),
    *("</integration>", "<decoder name='d'>", "</decoder>", "<var name='x'>", "</var>", "<x/>"),
    *("<agent_config>", "</agent_config>", "<wodle name='command'>", "</wodle>", "<", ">", "</"),
    *(
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?x",
        "?>",
        "<!DOCTYPE x>",
        "<!ENTITY a 'b'>",
        "&x;",
        "&",
    ),
    *("<clu", "</clu", "ster>", "ster", "<!", "!>", "<!x!>", "<!-->", "<!--!>", "key", "/>"),
    *("\\<", "\\", "'", '"', "\n", "\r\n", "\0", "\ufeff", "\ud800", "&#0;", "&#x110000;"),
    *("<!-- From the configuration repository -->", "x" * 300),
]
texts = st.lists(st.sampled_from(_TAGS) | st.text(max_size=3), max_size=14).map("".join)
nested = st.tuples(st.sampled_from(["group", "ossec_config"]), texts).map(
    lambda pair: f"<{pair[0]}>{pair[1]}</{pair[0]}>"
)
contents = st.one_of(
    st.binary(max_size=200),
    (texts | nested).map(lambda text: text.encode("utf-8", "surrogatepass")),
    texts.map(lambda text: text.encode("utf-16", "surrogatepass")),
)
PATHS = (
    *("rules/a.xml", "decoders/a.xml", "lists/a", "groups/g/agent.conf", "groups/g/x"),
    *("sca/a.yml", "integrations/custom-a", "active-response/a", "ossec.conf"),
)


@given(content=contents, path=st.sampled_from(PATHS))
def test_given_any_content_when_checked_then_it_is_refused_in_a_line_or_leaves_ours_alone(
    content, path
):
    try:
        check(path, content)
    except RefusedError as refusal:
        assert str(refusal).isprintable()
        assert str(refusal).startswith(path)
        assert len(str(refusal)) < 200
        return
    with suppress(os_xml.BadTextError):
        text = content.decode(errors="replace")
        assert path != FRAGMENT or not _OURS & set(os_xml.names(text))
    held = bundle.Bundle("ab" * 20, {path: content, "lists/hosts": b"a:b\n"})
    assert bundle.parse(bundle.dump(held)) == held
    merged = configuration.merged(CONF, held)
    # What is ours stays first, once, and comes out again whole.
    assert merged.startswith(CONF)
    assert merged.lower().count(b"<cluster") == 1
    assert configuration.merged(merged, held) == merged
    assert configuration.merged(merged, bundle.Bundle()) == CONF
    configuration.needs_restart(bundle.Bundle(), held)


names = st.lists(
    st.sampled_from(
        [
            *(b"rules", b"decoders", b"lists", b"groups", b"sca", b"integrations", b"ossec.conf"),
            *(b"active-response", b"..", b".", b"", b"/", b"a.xml", b"x", b"-x", b"a b", b"\xff"),
            *(b"client.keys", b"\n", b"custom-a", b"default", b"a.yml", b".git", b"~", b"a.cdb"),
        ]
    )
    | st.binary(max_size=4),
    min_size=1,
    max_size=4,
).map(b"/".join)
modes = st.sampled_from(["100644", "100755", "120000", "160000", "040000", "020666", "104755"])


@given(found=st.lists(st.builds(Entry, modes, st.just("0" * 40), st.integers(0, 2**40), names)))
def test_given_any_files_when_chosen_then_each_is_plain_and_has_a_place(found):
    try:
        taken = select(found, Limits())
    except RefusedError as refusal:
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 300
        return
    held = bundle.Bundle("ab" * 20, dict.fromkeys(taken, b"x"))
    # What is taken is what units hand to each other, and lands below where its kind belongs.
    assert bundle.parse(bundle.dump(held)) == held
    for where in held.placed(master=True):
        assert ".." not in where.split("/")
        assert where.startswith(tuple(f"{kind.target}/" for kind in bundle.KINDS.values()))
        assert where.rpartition("/")[2] not in ("client.keys", "merged.mg", "ar.conf")


PROPERTIES: tuple[Callable[[], None], ...] = (
    test_given_any_address_when_read_then_git_gets_a_plain_one_or_the_option_a_reason,
    test_given_any_request_when_read_then_it_is_one_of_the_charm_s_or_a_value_error,
    test_given_any_content_when_checked_then_it_is_refused_in_a_line_or_leaves_ours_alone,
    test_given_any_files_when_chosen_then_each_is_plain_and_has_a_place,
)


def main() -> None:
    """Run every property with so many cases of a seed, and say how many were taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given_ = parser.parse_args()
    for test in PROPERTIES:
        long = settings(
            max_examples=given_.cases,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            print_blob=True,
        )
        seed(given_.seed)(long(test))()
        sys.stdout.write(f"{given_.cases} cases of seed {given_.seed}: {test.__name__}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
