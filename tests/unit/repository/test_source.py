"""The option `custom-config-repository` as text: what is taken, what is refused and how."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.repository import Source

PASSWORD = "Tr0ub4dor-and-3"


@pytest.mark.parametrize(
    ("text", "url", "ref", "subdirectory"),
    [
        ("git+https://host/a.git", "https://host/a.git", None, None),
        ("git+http://host:8080/a", "http://host:8080/a", None, None),
        ("git+https://HOST.example/a/b@v1.2", "https://host.example/a/b", "v1.2", None),
        ("git+https://h/a@feature/x+y", "https://h/a", "feature/x+y", None),
        ("git+https://h/a#subdirectory=wazuh/etc", "https://h/a", None, "wazuh/etc"),
        ("git+https://h:1/a@r#subdirectory=.config", "https://h:1/a", "r", ".config"),
        ("git+https://h/@scope/a@main", "https://h/@scope/a", "main", None),
        ("git+https://192.0.2.1:65535/a", "https://192.0.2.1:65535/a", None, None),
        ("git+https://[2001:DB8::1]:8443/a", "https://[2001:db8::1]:8443/a", None, None),
        ("git+https://[::1]/a", "https://[::1]/a", None, None),
        ("git+https://h/My%20Project/_git/a", "https://h/My%20Project/_git/a", None, None),
        ("  git+https://h/a ", "https://h/a", None, None),
    ],
)
def test_given_a_good_address_when_parsed_then_every_part_is_kept(text, url, ref, subdirectory):
    source = Source.parse(text)

    assert (source.url, source.ref, source.subdirectory) == (url, ref, subdirectory)
    assert Source.parse(str(source)) == source


def refused(text: str) -> str:
    """Return the reason why an address is refused."""
    with pytest.raises(ValueError) as caught:
        Source.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("git+hhtp://h/a", 'unknown scheme "git+hhtp" (use git+https, git+ssh or git+http)'),
        ("ssh://git@h/a", 'unknown scheme "ssh" (use git+https, git+ssh or git+http)'),
        ("https://h/a", 'unknown scheme "https" (use git+https, git+ssh or git+http)'),
        ("git://h/a", 'unknown scheme "git" (use git+https, git+ssh or git+http)'),
        ("file:///etc", 'unknown scheme "file" (use git+https, git+ssh or git+http)'),
        ("--upload-pack=x://h/a", "unknown scheme (use git+https, git+ssh or git+http)"),
    ],
)
def test_given_another_scheme_when_parsed_then_the_accepted_ones_are_named(text, reason):
    assert refused(text) == reason


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("ext::sh -c id", "no scheme"),
        ("--upload-pack=x", "no scheme"),
        ("git@github.com:a/b", "no scheme"),
        ("git+https://h/" + "a" * 3000, "longer than 2048"),
        ("git+https://", "host"),
        ("git+https:///a", "host"),
        ("git+https://-oProxyCommand=id/a", "host"),
        ("git+https://h\nx/a", "control characters"),
        ("git+https://h%0ax/a", "host"),
        ("git+https://a..b/a", "host"),
        ("git+https://" + "a" * 64 + ".example/a", "host"),
        ("git+https://" + "a." * 200 + "example/a", "host"),
        ("git+https://300.0.2.1/a", "IPv4"),
        ("git+https://[::1/a", "IPv6"),
        ("git+https://[fe80::1%25eth0]/a", "IPv6"),
        ("git+https://[::1]x/a", "port"),
        ("git+https://h:99999/a", "port"),
        ("git+https://h:0/a", "port"),
        ("git+https://h:/a", "port"),
        ("git+https://h:-1/a", "port"),
        ("git+https://h:8o80/a", "port"),
        ("git+https://h", "no path"),
        ("git+https://h/", "no path"),
        ("git+https://h/@main", "no path"),
        ("git+https://h/a/../b", "path"),
        ("git+https://h/a/%2e%2e/b", "path"),
        ("git+https://h/a%00b", "path"),
        ("git+https://h/a%0ab", "path"),
        ("git+https://h//a", "path"),
        ("git+https://h/a;id", "path"),
        ("git+https://h/a?token=x", "queries"),
        ("git+https://h/a b", "spaces"),
        ("git+https://h/a\tb", "control characters"),
        ("git+https://h/a\nb", "control characters"),
        ("git+https://h/a\n", "control characters"),
        ("git+https://h/ä", "ASCII"),
        ("git+https://h/a@", "ref"),
        ("git+https://h/a@--upload-pack=x", "ref"),
        ("git+https://h/a@-x", "ref"),
        ("git+https://h/a@a..b", "ref"),
        ("git+https://h/a@a/-x", "ref"),
        ("git+https://h/a@main@{1}", "ref"),
        ("git+https://h/a@a b", "spaces"),
        ("git+https://h/a@a.lock", "ref"),
        ("git+https://h/a@a//b", "ref"),
        ("git+https://h/a@/a", "ref"),
        ("git+https://h/a@a/", "ref"),
        ("git+https://h/a@a^", "ref"),
        ("git+https://h/a@+main:refs/x", "ref"),
        ("git+https://h/a@" + "a" * 256, "ref"),
        ("git+https://h/a#main", "after #"),
        ("git+https://h/a#", "after #"),
        ("git+https://h/a#subdirectory=", "subdirectory"),
        ("git+https://h/a#subdirectory=/etc", "subdirectory"),
        ("git+https://h/a#subdirectory=a/../b", "subdirectory"),
        ("git+https://h/a#subdirectory=-x", "subdirectory"),
        ("git+https://h/a#subdirectory=.GIT/hooks", "subdirectory"),
        ("git+https://h/a#subdirectory=a&egg=b", "subdirectory"),
    ],
)
def test_given_a_bad_address_when_parsed_then_the_reason_names_the_part(text, part):
    assert part in refused(text)


def test_given_ssh_when_parsed_then_its_port_is_kept_and_its_user_is_git_unless_named():
    assert Source.parse("git+ssh://h:2222/a.git").url == "ssh://git@h:2222/a.git"
    assert Source.parse("git+ssh://deploy@h/a").url == "ssh://deploy@h/a"


@pytest.mark.parametrize("user", ["-oProxyCommand=id", "a b", "", "a%0a", "a@b"])
def test_given_a_user_that_is_no_name_when_parsed_then_it_is_refused(user):
    assert refused(f"git+ssh://{user}@h/a")


@pytest.mark.parametrize(
    "text",
    [
        f"git+https://user:{PASSWORD}@h/a",
        f"git+https://{PASSWORD}@h/a",
        f"git+https://user:{PASSWORD}@h:99999/a",
        f"git+https://user:{PASSWORD}/x@h/a",
        f"git+https://user:{PASSWORD}#x@h/a",
        f"git+ssh://user:{PASSWORD}@h/a",
        f"user:{PASSWORD}@h/a",
        f"user:{PASSWORD}@git+https://h/a",
    ],
)
def test_given_a_password_when_parsed_then_it_is_refused_and_not_repeated(text):
    assert PASSWORD not in refused(text)


def test_given_a_source_when_changed_then_it_refuses():
    source = Source.parse("git+https://h/a")

    with pytest.raises(ValueError):
        source.__setattr__("host", "other")


@given(st.text() | st.text().map(lambda text: f"git+https://{text}"))
def test_given_any_text_when_parsed_then_only_value_errors_come_and_parsing_is_stable(text):
    try:
        source = Source.parse(text)
    except ValueError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 200
    else:
        assert Source.parse(str(source)) == source
        assert not source.url.startswith("-")
        assert source.url.isprintable()


secret = st.text(string.ascii_letters + string.digits, min_size=8, max_size=20)
around = st.text(string.printable, max_size=10)


@given(secret=secret, before=around, after=around)
def test_given_a_password_before_an_at_sign_when_refused_then_it_is_not_repeated(
    secret, before, after
):
    text = f"git+https://{before}:{secret}@{after}"

    try:
        Source.parse(text)
    except ValueError as error:
        assert secret not in str(error)


names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
refs = st.from_regex(r"[a-z][a-z0-9._+]{0,8}[a-z0-9](/[a-z0-9]{1,4})?", fullmatch=True)


@given(
    scheme=st.sampled_from(["git+https://", "git+http://", "git+ssh://git@", "git+ssh://a.b@"]),
    host=names,
    port=st.none() | st.integers(1, 65535),
    path=st.lists(names, min_size=1, max_size=4),
    ref=st.none() | refs.filter(lambda ref: ".." not in ref and not ref.endswith(".lock")),
    directory=st.none() | st.lists(names, min_size=1, max_size=3),
)
def test_given_good_parts_when_put_together_then_they_are_taken_and_written_back(
    scheme, host, port, path, ref, directory
):
    text = f"{scheme}{host}" + ("" if port is None else f":{port}") + "/" + "/".join(path)
    text += "" if ref is None else f"@{ref}"
    text += "" if directory is None else "#subdirectory=" + "/".join(directory)

    assert str(Source.parse(text)) == text
