"""What Wazuh can read, and what is refused before Wazuh meets it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository.content import check
from repository.places import RefusedError


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("rules/a.xml", b"<group name='a'></group>"),
        ("rules/a.xml", b"<var name='x'>1</var>\n<group name='a'/>\n<group name='b'/>\n"),
        ("rules/a.xml", b"<?xml version='1.0'?>\n<group name='a'/>"),
        ("rules/a.xml", b"<!-- -- a -- -->\n<group name='a'/>"),
        ("rules/a.xml", rb"<group name='a'><regex>a & b \< c</regex></group>"),
        ("rules/a.xml", b"<group name='a'><field>E:\\\\</field></group>"),
        ("rules/a.xml", b"<group name='a'><match>1 < 2 &amp; &lt; &#65;</match></group>"),
        ("decoders/a.xml", b"<decoder name='a'>\n</decoder>\n<decoder name='b'></decoder>"),
        ("rules/a.xml", b"<!-- a !><group name='a'/><! b -->"),
        ("lists/a", b'key:value\r\n\nkey:\n"2001:db8::1":"a:b"\nkey:https://host/'),
        ("lists/a", b""),
    ],
)
def test_given_what_wazuh_reads_when_checked_then_it_is_taken(path, data):
    assert check(path, data) is None


@pytest.mark.parametrize(
    ("path", "data", "part"),
    [
        ("rules/a.xml", b"", "holds no <group>"),
        ("rules/a.xml", b"<!-- <group name='a'/> -->", "holds no <group>"),
        ("rules/a.xml", b"<group>\n<rule>\n</group>", "line 3: mismatched tag"),
        ("rules/a.xml", b"<group>\n", "line 2"),
        ("rules/a.xml", b"</all><group/><all>", "line 1"),
        ("rules/a.xml", b"<decoder name='a'/>", "may be outermost, not <decoder>"),
        ("decoders/a.xml", b"<group/>", "only <decoder> and <var> may be outermost"),
        ("rules/a.xml", b"<ossec_config><cluster/></ossec_config>", "outermost"),
        ("rules/a.xml", b"<!DOCTYPE x [<!ENTITY a 'b'>]><group/>", "DOCTYPE"),
        ("rules/a.xml", b"<!doctype x><group/>", "DOCTYPE"),
        ("rules/a.xml", b"\xef\xbb\xbf<group/>", "byte order mark"),
        ("rules/a.xml", "<group/>".encode("utf-16"), "byte order mark"),
        ("rules/a.xml", "<group/>".encode("utf-16-le"), "NUL"),
        ("rules/a.xml", b"<group>\xff</group>", "UTF-8"),
        ("rules/a.xml", b"<group>&#0;</group>", "line 1"),
        ("rules/a.xml", b"<group>" * 20 + b"</group>" * 20, "too deep"),
        ("rules/a.xml", b"<group>" * 200_000, "too deep"),
        ("lists/a", b"a\0b", "NUL"),
        ("lists/a", b"a:b\n192.0.2.1\n", "line 2: not key:value"),
        ("lists/a", b'"a:b', "line 1: not key:value"),
        ("lists/a", b":b", "line 1: not key:value"),
        ("lists/a", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS"),
    ],
)
def test_given_what_wazuh_cannot_read_when_checked_then_the_reason_names_it(path, data, part):
    with pytest.raises(RefusedError) as caught:
        check(path, data)

    assert part in str(caught.value)
    assert str(caught.value).startswith(path)


TAGS = ("<group name='a'>", "</group>", "<rule>", "</rule>", "<!--", "-->", "<![CDATA[", "]]>")
PARTS = ("&", "&lt;", "&x;", "\\<", "<", "<?x", "?>", "<!DOCTYPE x>", "'", "\n", "\0", "\ufeff")
pieces = st.sampled_from((*TAGS, *PARTS))


@given(st.binary(max_size=200) | st.lists(pieces | st.text(max_size=3)).map("".join))
def test_given_anything_when_checked_then_it_is_taken_or_refused_in_one_line(data):
    content = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")

    for path in ("rules/a.xml", "decoders/a.xml", "lists/a"):
        try:
            check(path, content)
        except RefusedError as refusal:
            assert str(refusal).isprintable()
            assert len(str(refusal)) < 200


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "<ossec_config>\n<cluster>\n</cluster></ossec_config>",
            "line 2: <cluster> is the charm's",
        ),
        ("<ossec_config>\n\n<auth>\n</auth></ossec_config>", "line 3: <auth> is the charm's"),
        ("<ossec_config><indexer/></ossec_config>", "line 1: <indexer> is the charm's own"),
        ("<ossec_config>\n<!-- <cluster> -->\n</ossec_config>", "line 2: <cluster> is"),
        ("<ossec_config>\n< CLUSTER></ossec_config>", "line 2: <cluster> is"),
        ("<ossec_config></cluster></ossec_config>", "line 1: <cluster> is"),
        (
            "<ossec_config>\n<clu<!-- x -->ster></clu<!-- x -->ster></ossec_config>",
            "line 2: a comment within a tag",
        ),
        (
            "<ossec_config><clu<!--!>ster></clu<!--!>ster>-->/></ossec_config>",
            "line 1: a comment within a tag",
        ),
        ("<ossec_config><<!-- -->cluster/></ossec_config>", "line 1: a comment within a tag"),
        ("<ossec_config><!-- !></x><!-- --></ossec_config>", "line 1: mismatched tag"),
        (
            "<ossec_config><global><email_notification>yes</email_notification></global>",
            "line 1: <email_notification> is set by the option email-to",
        ),
        ("<global></global>", "line 1: only <ossec_config> may be outermost, not <global>"),
        ("", "holds no <ossec_config>"),
        ("<ossec_config>", "line 1"),
        ("<!DOCTYPE x><ossec_config/>", "holds a DOCTYPE or ENTITY"),
        ("\ufeff<ossec_config/>", "begins with a byte order mark"),
        ("<ossec_config>\0</ossec_config>", "holds a NUL byte"),
    ],
)
def test_given_a_fragment_that_is_not_to_be_merged_when_checked_then_the_line_is_named(
    text, reason
):
    with pytest.raises(RefusedError) as refused:
        check("ossec.conf", text.encode())

    assert reason in str(refused.value)


def test_given_good_files_of_every_kind_when_checked_then_they_are_taken():
    check("ossec.conf", b"<ossec_config>\n  <clusters_are_fine/>\n</ossec_config>\n")
    check("groups/web/agent.conf", b"<agent_config>\n</agent_config>\n")
    check("groups/web/policy.yml", b"policy:\n")
    check("active-response/block", b"\x7fELF\0\xff")


def test_given_a_group_whose_configuration_is_broken_when_checked_then_it_is_refused():
    with pytest.raises(RefusedError, match=r"groups/web/agent\.conf line 1"):
        check("groups/web/agent.conf", b"<agent_config>")
