"""The option `custom-config-repository`: one Git address, checked before anything uses it.

Knows neither Juju nor Git. The reasons given to people never repeat the address, since a
mistyped one may hold a password in any of its parts.
"""

import ipaddress
import re
from typing import Annotated, Literal, Self
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

_SCHEMES = {"git+https": "https", "git+http": "http", "git+ssh": "ssh"}
_ACCEPTED = "use git+https, git+ssh or git+http"
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_LENGTH = 2048
_PART_LENGTH = 255

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"/(?:[A-Za-z0-9._~+@=,-]|%[0-9A-Fa-f]{2}|/)+")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*")
_SUBDIRECTORY = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9._+/-]*")


def _checked_host(host: str) -> str:
    if host.startswith("["):
        return _checked_address6(host)
    labels = host.lower().split(".")
    if len(host) > _PART_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host is neither a name nor an address")
    if labels[-1].isdigit():
        _checked_address4(host)
    return host.lower()


def _checked_address4(host: str) -> None:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise ValueError("the host is not a valid IPv4 address") from None


def _checked_address6(host: str) -> str:
    try:
        if "%" in host or not host.endswith("]"):
            raise ValueError
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    except ValueError:
        raise ValueError("the host is not a valid IPv6 address in brackets") from None


def _checked_port(port: int | None) -> int | None:
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("the port is not a number from 1 to 65535")
    return port


def _checked_user(user: str | None) -> str | None:
    if user is not None and not _USER.fullmatch(user):
        raise ValueError("the user name before the host holds characters that are not allowed")
    return user


def _checked_path(path: str) -> str:
    if not path.strip("/"):
        raise ValueError("no path to a repository after the host")
    if not _PATH.fullmatch(path):
        raise ValueError("the path holds characters that are not allowed")
    decoded = unquote(path, errors="replace")
    if not decoded.isprintable():
        raise ValueError("the path holds characters that are not allowed")
    segments = decoded.rstrip("/").split("/")[1:]
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError("the path holds an empty, . or .. part")
    return path


def _checked_ref(ref: str | None) -> str | None:
    if ref is None:
        return None
    if not ref:
        raise ValueError("the ref after @ is empty")
    if len(ref) > _PART_LENGTH or not _REF.fullmatch(ref) or not _is_ref_name(ref):
        raise ValueError(
            "the ref after @ is not a branch, tag or commit "
            "(letters, digits and . _ / + -, not beginning with -)"
        )
    return ref


def _is_ref_name(ref: str) -> bool:
    """Tell whether Git would take the name (the rules of git-check-ref-format)."""
    parts = ref.split("/")
    return ".." not in ref and not any(
        part == "" or part[0] in ".-" or part.endswith((".", ".lock")) for part in parts
    )


def _checked_subdirectory(directory: str | None) -> str | None:
    if directory is None:
        return None
    if not directory:
        raise ValueError("the subdirectory is empty")
    parts = directory.split("/")
    if (
        len(directory) > _PART_LENGTH
        or not _SUBDIRECTORY.fullmatch(directory)
        or any(part in ("", ".", "..") or part.startswith("-") for part in parts)
        or any(part.lower() == ".git" for part in parts)
    ):
        raise ValueError(
            "the subdirectory is not a relative path below the repository "
            "(letters, digits and . _ / + -)"
        )
    return directory


class Source(BaseModel):
    """Where a configuration repository is, and what of it is wanted.

    Every field is safe to hand to Git as one argument: none begins with `-`, holds white
    space, a control character or a password. A user's name is for ssh alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    scheme: Literal["https", "http", "ssh"]
    user: Annotated[str | None, AfterValidator(_checked_user)] = None
    host: Annotated[str, AfterValidator(_checked_host)]
    port: Annotated[int | None, AfterValidator(_checked_port)] = None
    path: Annotated[str, AfterValidator(_checked_path)]
    ref: Annotated[str | None, AfterValidator(_checked_ref)] = None
    subdirectory: Annotated[str | None, AfterValidator(_checked_subdirectory)] = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `git+https://host[:port]/path[@ref][#subdirectory=directory]`.

        With `git+ssh` the user's name may stand before the host; it is `git` otherwise.

        Raises ValueError whose text is the reason alone: one sentence without the address.
        """
        fields = _split(text.strip(" "))
        try:
            return cls(**fields)
        except ValidationError as error:
            raise ValueError(_reason(error)) from None

    @property
    def url(self) -> str:
        """The address as Git takes it, with its port."""
        port = "" if self.port is None else f":{self.port}"
        user = "" if self.user is None else f"{self.user}@"
        return f"{self.scheme}://{user}{self.host}{port}{self.path}"

    @property
    def plain_text(self) -> bool:
        """Tell whether anybody on the way can read and change what is fetched."""
        return self.scheme == "http"

    def __str__(self) -> str:
        """Write the option's value back: `Source.parse(str(source)) == source`."""
        ref = "" if self.ref is None else f"@{self.ref}"
        directory = "" if self.subdirectory is None else f"#subdirectory={self.subdirectory}"
        return f"git+{self.url}{ref}{directory}"


def _reason(error: ValidationError) -> str:
    """Take the first refusal's own sentence; pydantic's text would add field and type."""
    context = error.errors(include_url=False, include_input=False)[0].get("ctx", {})
    return str(context.get("error", "not a valid address"))


def _split(text: str) -> dict:
    """Cut an address into the fields of `Source`, refusing what has no place in any."""
    if not text:
        raise ValueError("the address is empty")
    if len(text) > _LENGTH:
        raise ValueError(f"longer than {_LENGTH} characters")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"no scheme ({_ACCEPTED}, as in git+https://host/path)")
    address, hash_sign, fragment = rest.partition("#")
    authority, slash, path = address.partition("/")
    scheme = _scheme(scheme)
    fields = {"scheme": scheme, **_authority(scheme, authority)}
    if not all(character.isascii() and character.isprintable() for character in text):
        raise ValueError("control characters and letters beyond ASCII are not allowed")
    if " " in text or "?" in text:
        raise ValueError("spaces and queries (?) are not allowed")
    path, ref = _path_and_ref(slash + path)
    subdirectory = _subdirectory(fragment) if hash_sign else None
    return fields | {"path": path, "ref": ref, "subdirectory": subdirectory}


def _scheme(scheme: str) -> str:
    if scheme in _SCHEMES:
        return _SCHEMES[scheme]
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(f"unknown scheme ({_ACCEPTED})")
    raise ValueError(f'unknown scheme "{scheme}" ({_ACCEPTED})')


def _authority(scheme: str, authority: str) -> dict:
    user = "git" if scheme == "ssh" else None
    if "@" in authority:
        user, _, authority = authority.rpartition("@")
        if scheme != "ssh":
            raise ValueError("a user name or password in the address is not allowed")
        if ":" in user:
            raise ValueError("a password in the address is not allowed")
    return {"user": user, **_host_and_port(authority)}


def _host_and_port(authority: str) -> dict:
    if authority.startswith("["):
        host, bracket, port = authority.partition("]")
        host, port = host + bracket, port.removeprefix(":") if port else None
    else:
        host, colon, port = authority.partition(":")
        port = port if colon else None
    if port is None:
        return {"host": host, "port": None}
    if not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError("the port is not a number from 1 to 65535")
    return {"host": host, "port": int(port)}


def _path_and_ref(text: str) -> tuple[str, str | None]:
    """Cut at the last @ (as pip does), so that a path may hold one when a ref follows."""
    path, at_sign, ref = text.rpartition("@")
    return (path, ref) if at_sign else (text, None)


def _subdirectory(fragment: str) -> str:
    name, equals, directory = fragment.partition("=")
    if name != "subdirectory" or not equals:
        raise ValueError("after # only subdirectory=DIRECTORY is known")
    return directory
