"""How Wazuh itself finds elements in a text (src/os_xml/os_xml.c, 4.14), step for step.

It is no reader of XML: comments begin with `<!`, end with `!>` or `-->`, and may stand in a name.
"""

_SPACE = " \t\n\v\f\r"


class BadTextError(Exception):
    """Wazuh does not take the text."""


def names(text: str) -> list[str]:
    """Return the names of all elements in their order. Raises BadTextError."""
    source = _Source(text)
    _Element(source, 0).read()
    return source.names


class _Source:
    """The characters to come, and the names found so far."""

    def __init__(self, text: str) -> None:
        self.rest = list(reversed(text))
        self.names: list[str] = []

    def next(self) -> str:
        """Return one character, nothing at the end."""
        return self.rest.pop() if self.rest else ""

    def back(self, characters: str) -> None:
        """Have characters come again."""
        self.rest.extend(reversed(characters))

    def comment(self) -> bool:
        """Pass over a comment after its `<`; false where there is none."""
        found = self.next()
        if found != "!":
            self.back(found)
            return False
        last = ""
        while found := self.next():
            last = (last + found)[-3:]
            if last == "-->" or last[-2:] == "!>":
                return True
        raise BadTextError("comment")

    def attributes(self) -> bool:
        """Pass over attributes; tell whether a slash ended them."""
        name, quote = "", ""
        while found := self.next():
            if found == ">" or (not quote and found == "/"):
                if quote or name:
                    raise BadTextError("attribute")
                return found == "/"
            if quote:
                name, quote = ("", "") if found == quote else (name, quote)
            elif found == "=":
                quote = self._quote()
            elif found not in _SPACE:
                name += found
        raise BadTextError("attributes")

    def _quote(self) -> str:
        while (quote := self.next()) and quote in _SPACE:
            continue
        if quote not in ("'", '"'):
            raise BadTextError("attribute")
        return quote


class _Element:
    """Elements beside each other, or the one that is due within another."""

    def __init__(self, source: _Source, depth: int) -> None:
        self.source = source
        self.depth = depth
        self.act = self._out
        self.escaped = False
        self.name = self.closing = ""

    def read(self) -> None:
        while found := self.source.next():
            self.escaped = not self.escaped if found == "\\" else self.escaped and found == "<"
            if found == "<" and self.source.comment():
                continue
            if self.act(found) and self.depth:
                return
            self.escaped = self.escaped and found != "<"
        if self.act != self._out:
            raise BadTextError("not closed")

    def _out(self, found: str) -> bool:
        if found == "<" and not self.escaped:
            after = self.source.next()
            if after == "/":
                raise BadTextError("not opened")
            self.source.back(after)
            self.act = self._name
        return False

    def _name(self, found: str) -> bool:
        if found != ">" and found not in _SPACE:
            self.name += found
            return False
        empty = self.name.endswith("/")
        self.name = self.name.removesuffix("/")
        self.source.names.append(self.name)
        empty = (found in _SPACE and self.source.attributes()) or empty
        self.act = self._out if empty else self._in
        self.name = "" if empty else self.name
        return empty

    def _in(self, found: str) -> bool:
        if found == "<" and not self.escaped:
            after = self.source.next()
            if after == "/":
                self.act = self._end
            else:
                self.source.back("<" + after)
                _Element(self.source, self.depth + 1).read()
        return False

    def _end(self, found: str) -> bool:
        if found != ">":
            self.closing += found
            return False
        if self.closing != self.name:
            raise BadTextError("closed as another")
        self.act, self.name, self.closing = self._out, "", ""
        return True
