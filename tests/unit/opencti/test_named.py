"""What an alert names: read from decoded fields alone, each once, nothing private."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opencti import named
from opencti.named import Named

MD5, SHA1, SHA256 = "0f" * 16, "1e" * 20, "2d" * 32


@pytest.mark.parametrize(
    ("alert", "found"),
    [
        ({"data": {"srcip": "8.8.8.8"}}, [("ipv4-addr", "8.8.8.8")]),
        ({"data": {"src_ip": "::ffff:8.8.8.8"}}, [("ipv4-addr", "8.8.8.8")]),
        ({"data": {"dstip": "2001:4860:4860::8888"}}, [("ipv6-addr", "2001:4860:4860::8888")]),
        ({"data": {"srcip": "10.1.2.3", "dstip": "127.0.0.1", "x": "fe80::1%eth0"}}, []),
        ({"data": {"srcip": "224.0.0.1", "dstip": "ff0e::1", "y": "169.254.169.254"}}, []),
        ({"data": {"version": "1.2.3", "port": "443", "pid": 8}}, []),
        (
            {
                "data": {
                    "win": {"eventdata": {"hashes": f"SHA1={SHA1},MD5={MD5},IMPHASH={MD5[::-1]}"}}
                }
            },
            [("SHA-1", SHA1), ("MD5", MD5)],
        ),
        (
            {"syscheck": {"sha256_after": SHA256, "sha256_before": SHA1 + "0" * 24}},
            [("SHA-256", SHA256)],
        ),
        ({"data": {"session": MD5}}, []),
        (
            {"data": {"dns": [{"rrname": "Evil.Example.com."}]}},
            [("domain-name", "evil.example.com")],
        ),
        ({"data": {"win": {"eventdata": {"queryName": "8.8.8.8"}}}}, [("ipv4-addr", "8.8.8.8")]),
        ({"data": {"hostname": "web01"}}, []),
        (
            {"data": {"url": "https://evil.example.com:8443/a?b='c'"}},
            [
                ("url", "https://evil.example.com:8443/a?b='c'"),
                ("domain-name", "evil.example.com"),
            ],
        ),
        ({"data": {"url": "http://[::1"}}, [("url", "http://[::1")]),
        ({"data": {"url": "/index.html"}}, []),
        ({"full_log": "from 8.8.8.8", "data": {"note": "from 8.8.8.8 to evil.com"}}, []),
        ({"data": {"srcip": "8.8.8.8", "dst": {"ip": "8.8.8.8"}}}, [("ipv4-addr", "8.8.8.8")]),
        ({"data": None, "syscheck": [1, [2, "x"]]}, []),
    ],
)
def test_given_an_alert_when_read_then_what_it_names_is_found(alert, found):
    assert named.find(alert) == [Named(*one) for one in found]


def test_given_more_than_is_looked_up_when_read_then_the_first_are_taken():
    alert = {"data": {str(n): f"8.8.8.{n}" for n in range(100)}}

    assert len(named.find(alert)) == named.MOST


def test_given_values_when_put_into_patterns_then_none_breaks_out_of_its_quotes():
    one = Named("url", "http://x/'] OR [a:b = '\\")

    assert one.patterns == ("[url:value = 'http://x/\\'] OR [a:b = \\'\\\\']",)
    assert Named("MD5", MD5).patterns == (
        f"[file:hashes.'MD5' = '{MD5}']",
        f"[file:hashes.MD5 = '{MD5}']",
    )
    assert (Named("SHA-256", SHA256).filter, one.filter) == ("hashes.SHA-256", "value")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["url", "hashes", "query", "srcip", "md5"]) | st.text(max_size=5),
            inner,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["data", "syscheck", "rule"]), _VALUES))
def test_given_any_alert_when_read_then_only_plain_values_are_found(alert):
    found = named.find(alert)

    assert len(found) <= named.MOST
    assert len({*found}) == len(found)
    for one in found:
        assert one.value.isprintable()
        assert len(one.value) <= 2048
