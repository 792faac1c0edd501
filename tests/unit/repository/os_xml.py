"""How Wazuh itself finds elements in a text (src/os_xml/os_xml.c, 4.14), step for step.

It is no reader of XML: comments begin with `<!`, end with `!>` or `-->`, and may stand within a name.
"""

_SPACE = " \t\n\v\f\r"


class BadTextError(Exception):
    """Wazuh does not take the text."""


def names(text: str) -> list[str]:
    """Return the names of all elements in their order. Raises BadTextError."""
    reader = _Reader(text)
    reader.element(0)
    return reader.names


class _Reader:
    def __init__(self, text: str) -> None:
        self.rest = list(reversed(text))
        self.names: list[str] = []

    def next(self) -> str:
        """Return one character, nothing at the end."""
        return self.rest.pop() if self.rest else ""

    def back(self, character: str) -> None:
        """Have a character come again."""
        if character:
            self.rest.append(character)

    def comment(self) -> bool:
        """Pass over a comment; false where there is none."""
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

    def element(self, depth: int) -> None:
        """Read elements beside each other, or the one that is due within another."""
        where, escaped, name, closing = "out", False, "", ""
        while found := self.next():
            escaped = not escaped if found == "\\" else escaped and found == "<"
            if found == "<" and self.comment():
                continue
            if where == "out" and not escaped:
                if found == "<":
                    self._not("/")
                    where = "name"
            elif where == "name" and (found == ">" or found in _SPACE):
                empty = name.endswith("/")
                name = name.removesuffix("/")
                self.names.append(name)
                empty = (found in _SPACE and self.attributes()) or empty
                where = "out" if empty else "in"
                if empty and depth:
                    return
                name = "" if empty else name
            elif where == "end" and found == ">":
                if closing != name:
                    raise BadTextError("closed as another")
                where, name, closing = "out", "", ""
                if depth:
                    return
            elif where == "in" and found == "<" and not escaped:
                after = self.next()
                if after == "/":
                    where = "end"
                else:
                    self.back(after)
                    self.back("<")
                    self.element(depth + 1)
            else:
                name += found if where == "name" else ""
                closing += found if where == "end" else ""
                escaped = escaped and found != "<"
        if where != "out":
            raise BadTextError("not closed")

    def _not(self, character: str) -> None:
        found = self.next()
        if found == character:
            raise BadTextError("not opened")
        self.back(found)

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
                while (quote := self.next()) and quote in _SPACE:
                    continue
                if quote not in ("'", '"'):
                    raise BadTextError("attribute")
            elif found not in _SPACE:
                name += found
        raise BadTextError("attributes")
