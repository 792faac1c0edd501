r"""Whether a file's content is something that Wazuh can read.

Wazuh's own reader (src/os_xml) takes several roots in one file, bare `&`, `\<` and `--` in
comments, none of which is XML; so these are put right before a strict reader looks at it.
"""

import re
from xml.parsers import expat

from repository.places import RefusedError

_ROOTS = {
    "rules": ("group", "var"),
    "decoders": ("decoder", "var"),
    "ossec.conf": ("ossec_config",),
    "agent.conf": ("agent_config",),
}
_PROGRAMS = ("integrations", "active-response")
# wazuh-control looks for these by line, in comments too (src/init/wazuh-server.sh), and what
# they say is told by the charm alone.
_OURS = {
    "cluster": "the charm's own",
    "auth": "the charm's own",
    "indexer": "the charm's own",
    "email_notification": "set by the option email-to",
}
_OURS_TAG = re.compile(rf"</?\s*({'|'.join(_OURS)})\b", re.IGNORECASE)
_DEPTH = 16
# Wazuh's comments begin with `<!` and end with `!>` as well (src/os_xml/os_xml.c, _oscomment), and
# it takes them out of the middle of a tag's name too.
_COMMENT = re.compile(r"<!.*?(?:!>|-->)", re.DOTALL)
_SPLIT_TAG = re.compile(r"<[^\s<>!]*<!")
# What is neither is passed over by analysisd without a word (src/analysisd/lists_make.c); Wazuh's
# API refuses it (framework/wazuh/core/cdb_list.py).
_LIST_LINE = re.compile(r'\s*|(?:"[^"]+"|[^:"\s][^:"]*):(?:"[^"]*"|[^"]*)')
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|apos|quot|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_ESCAPED = re.compile(r"(?<!\\)((?:\\\\)*)\\<")
_NO_TAG = re.compile(r"<(?![A-Za-z/!?_])")
_LINK_TEXT = b"version https://git-lfs.github.com/"


def check(path: str, data: bytes) -> None:
    """Raise `RefusedError` naming the file, and the line where there is one."""
    if data.startswith(_LINK_TEXT):
        raise RefusedError(f"{path} is kept in Git LFS, which is not read")
    folder, _, name = path.partition("/")
    if folder in _PROGRAMS:
        return
    text = _text(path, data)
    if folder == "lists":
        _check_list(path, text)
    if path == "ossec.conf":
        _refuse_ours(path, text)
    kind = "agent.conf" if folder == "groups" and name.endswith("/agent.conf") else folder
    if kind in _ROOTS:
        _check_xml(path, text, _ROOTS[kind])


def _refuse_ours(path: str, text: str) -> None:
    found = _OURS_TAG.search(text)
    if found:
        tag = found.group(1).lower()
        raise RefusedError(f"{path} line {_line(text, found)}: <{tag}> is {_OURS[tag]}")
    found = _SPLIT_TAG.search(text)
    if found:
        raise RefusedError(f"{path} line {_line(text, found)}: a comment within a tag")


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1


def _check_list(path: str, text: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if not _LIST_LINE.fullmatch(line.rstrip("\r")):
            raise RefusedError(f"{path} line {number}: not key:value")


def _text(path: str, data: bytes) -> str:
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise RefusedError(f"{path} begins with a byte order mark")
    if b"\0" in data:
        raise RefusedError(f"{path} holds a NUL byte")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError(f"{path} is not UTF-8 text") from None


def _check_xml(path: str, text: str, roots: tuple[str, ...]) -> None:
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise RefusedError(f"{path} holds a DOCTYPE or ENTITY")
    reader = _Reader(path, roots)
    reader.read(_strict(text))
    if not reader.found:
        raise RefusedError(f"{path} holds no <{roots[0]}>")


def _strict(text: str) -> str:
    """Turn what Wazuh reads into XML, line for line."""
    text = _COMMENT.sub(lambda comment: "\n" * comment.group().count("\n"), text)
    text = re.sub(r"\A\s*<\?xml[^>]*\?>", lambda head: "\n" * head.group().count("\n"), text)
    text = _BARE_AMPERSAND.sub("&amp;", text)
    return _NO_TAG.sub("&lt;", _ESCAPED.sub(r"\1&lt;", text))


class _Reader:
    """Follows the tags of one file that has been put into one root."""

    def __init__(self, path: str, roots: tuple[str, ...]):
        self.path = path
        self.roots = roots
        self.depth = 0
        self.found = False
        self.parser = expat.ParserCreate(encoding="utf-8")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def read(self, text: str) -> None:
        try:
            self.parser.Parse(f"<all>{text}</all>".encode(), True)
        except expat.ExpatError as error:
            reason = expat.errors.messages.get(error.code, "not well formed")
            raise self._refusal(reason, error.lineno) from None

    def _refusal(self, reason: str, line: int) -> RefusedError:
        return RefusedError(f"{self.path} line {line}: {reason}")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        line = self.parser.CurrentLineNumber
        if self.depth == 1:
            self.found = True
            if name not in self.roots:
                wanted = " and ".join(f"<{root}>" for root in self.roots)
                raise self._refusal(f"only {wanted} may be outermost, not <{name[:40]}>", line)
        self.depth += 1
        if self.depth > _DEPTH:
            raise self._refusal("tags within tags too deep", line)

    def _end(self, _name: str) -> None:
        self.depth -= 1
