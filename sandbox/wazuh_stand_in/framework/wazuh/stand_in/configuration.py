"""Reads ossec.conf as the daemons do: each for itself, at its own start."""

import re
from pathlib import Path
from xml.parsers import expat

FIRST_PORT, LAST_PORT = 1024, 65535
FORBIDDEN_NODES = ("localhost", "NODE_IP", "0.0.0.0", "127.0.1.1")


class ConfigurationError(Exception):
    """The file cannot be used; the text says why."""


class Node:
    """An element: its tag, own text, attributes and children."""

    __slots__ = ("attributes", "children", "tag", "text")

    def __init__(self, tag: str, attributes: "dict[str, str] | None" = None):
        self.tag = tag
        self.text = ""
        self.attributes = attributes or {}
        self.children: list[Node] = []

    def all(self, tag: str) -> "list[Node]":
        """Return the children of that tag."""
        return [child for child in self.children if child.tag == tag]

    def find(self, tag: str) -> "Node | None":
        """Return the first child of that tag."""
        return next(iter(self.all(tag)), None)

    def value(self, tag: str, default: str = "") -> str:
        """Return the stripped text of a child, or the default."""
        child = self.find(tag)
        return default if child is None else child.text.strip() or default


def parse(text: str, name: str) -> Node:
    """Parse XML that may have several roots; raise ConfigurationError with the line."""
    root = Node("")
    stack = [root]

    def start(tag: str, attributes: "dict[str, str]") -> None:
        node = Node(tag, attributes)
        stack[-1].children.append(node)
        stack.append(node)

    def characters(data: str) -> None:
        stack[-1].text += data

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _tag: stack.pop()
    parser.CharacterDataHandler = characters
    body = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)
    try:
        parser.Parse(f"<stand-in>{body}</stand-in>", True)
    except expat.ExpatError as error:
        message = f"(1226): Error reading XML file '{name}': {error} (line {error.lineno})."
        raise ConfigurationError(message) from None
    return root.children[0]


class Settings:
    """The merged sections of every `<ossec_config>` in the file."""

    __slots__ = ("sections",)

    def __init__(self, sections: "list[Node]"):
        self.sections = sections

    def all(self, tag: str) -> "list[Node]":
        """Return every section of that tag."""
        return [section for section in self.sections if section.tag == tag]

    def find(self, tag: str) -> "Node | None":
        """Return the first section of that tag."""
        return next(iter(self.all(tag)), None)

    def value(self, tag: str, option: str, default: str = "") -> str:
        """Return an option, the last one given; the default where it is absent."""
        found = default
        for section in self.all(tag):
            found = section.value(option, found)
        return found


def read(path: Path) -> Settings:
    """Read etc/ossec.conf; raise ConfigurationError when it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"(1202): Configuration error at '{path}': {error}.") from None
    root = parse(text, "etc/ossec.conf")
    return Settings([node for top in root.all("ossec_config") for node in top.children])


def is_worker(settings: Settings) -> bool:
    """Return what the daemons other than the cluster's take this node for.

    A `<cluster>` block without any white space between its tags is taken for a master's
    (src/shared/cluster_utils.c, w_is_worker).
    """
    block = settings.find("cluster")
    if block is None or not block.text or block.value("disabled", "no") != "no":
        return False
    return block.value("node_type") in ("worker", "client")


class Cluster:
    """The `<cluster>` block as the cluster daemon reads it."""

    __slots__ = ("bind", "disabled", "key", "kind", "name", "node", "nodes", "port")

    def __init__(self, block: Node):
        self.name = block.value("name", "wazuh")
        self.node = block.value("node_name", "node01")
        self.kind = block.value("node_type", "master")
        self.key = block.value("key")
        self.bind = block.value("bind_addr", "0.0.0.0")
        self.disabled = block.value("disabled", "no") == "yes"
        self.port = number(block.value("port", "1516"))
        nodes = block.find("nodes")
        self.nodes = [node.text.strip() for node in nodes.all("node")] if nodes else ["NODE_IP"]


def number(text: str) -> int:
    """Return a whole number; raise ConfigurationError."""
    if not re.fullmatch(r"\d{1,6}", text):
        raise ConfigurationError(
            "Error 3004 - Error in cluster configuration: Port has to be an integer."
        )
    return int(text)


def cluster(settings: Settings) -> "Cluster | None":
    """Return the checked cluster block, None where there is none or it is disabled."""
    block = settings.find("cluster")
    if block is None:
        return None
    read_block = Cluster(block)
    if read_block.disabled:
        return None
    fault = _fault(read_block)
    if fault:
        raise ConfigurationError(f"Error 3004 - Error in cluster configuration: {fault}")
    return read_block


def _fault(block: Cluster) -> str:
    if not block.key:
        return "Unspecified key"
    if not re.fullmatch(r"\w{32}", block.key):
        return "Key must be 32 characters long and only have alphanumeric characters"
    if block.kind not in ("master", "worker"):
        return f"Invalid node type {block.kind}. Correct values are master and worker"
    if not FIRST_PORT < block.port < LAST_PORT:
        return f"Port must be higher than {FIRST_PORT} and lower than {LAST_PORT}."
    bad = [node for node in block.nodes if node in FORBIDDEN_NODES]
    return f"Invalid elements in node fields: {', '.join(bad)}." if bad else ""


def internal_option(home: Path, name: str, default: int) -> int:
    """Return an option of internal_options.conf; the local file goes first."""
    for file in ("etc/local_internal_options.conf", "etc/internal_options.conf"):
        path = home / file
        if path.is_file():
            found = re.findall(rf"^{re.escape(name)}\s*=\s*(\d+)", path.read_text(), re.MULTILINE)
            if found:
                return int(found[-1])
    return default
