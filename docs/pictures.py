"""The pictures, drawn from the code's own ports and times: `python docs/pictures.py` writes them.

They are kept in Git, since the README shows one; a test says when one is no longer current.
"""

import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "rock")]
FOLDER = ROOT / "docs/pictures"

_DARK, _MID, _LIGHT, _WHITE, _SIGNAL = "#1b3a5c", "#5b7fa6", "#e8eff6", "#ffffff", "#b3471d"


class Picture:
    """An SVG that grows by boxes and arrows; lengths are in pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="Ubuntu, sans-serif" font-size="13">\n'
            f"<title>{escape(title)}</title>\n"
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="{_MID}"/>'
            "</marker></defs>\n"
        )
        self._parts = [f'<rect width="{width}" height="{height}" fill="{_WHITE}"/>']

    def box(self, place: tuple[int, int, int, int], *lines: str, kind: str = "plain") -> None:
        """Draw a box at x, y, width, height; the first line is its name."""
        fill, ink = {
            "plain": (_LIGHT, _DARK),
            "strong": (_DARK, _WHITE),
            "frame": (_WHITE, _DARK),
        }[kind]
        x, y, width, height = place
        dash = ' stroke-dasharray="5 4"' if kind == "frame" else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" '
            f'stroke="{_MID}"{dash}/>'
        )
        top = y + 18 if kind == "frame" else y + (height - 17 * len(lines)) // 2 + 13
        for number, line in enumerate(lines):
            weight = ' font-weight="bold"' if number == 0 else ""
            self._text(x + width // 2, top + 17 * number, line, f'fill="{ink}"{weight}')

    def arrow(
        self, start: tuple[int, int], end: tuple[int, int], label: str = "", *, both: bool = False
    ) -> None:
        """Draw an arrow; its label lies above its middle."""
        back = ' marker-start="url(#tip)"' if both else ""
        self._parts.append(
            f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" '
            f'stroke="{_MID}" stroke-width="1.6" marker-end="url(#tip)"{back}/>'
        )
        if label:
            middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2 - 6)
            self._text(*middle, label, f'fill="{_SIGNAL}"')

    def note(self, x: int, y: int, text: str) -> None:
        """Write a line whose middle is at x."""
        self._text(x, y, text, f'fill="{_DARK}"')

    def _text(self, x: int, y: int, text: str, style: str) -> None:
        self._parts.append(
            f'<text x="{x}" y="{y}" text-anchor="middle" {style}>{escape(text)}</text>'
        )

    def svg(self) -> str:
        """Return the whole picture."""
        return self._head + "\n".join(self._parts) + "\n</svg>\n"


def drawn() -> dict[str, str]:
    """Return each picture by its file name."""
    return {
        "overview.svg": overview(),
        "architecture.svg": architecture(),
        "move.svg": move(),
    }


def overview() -> str:
    """Show what clients see: one Service, and behind it one master and workers."""
    agents, enrolment, senders, api = _ports()
    picture = Picture(820, 300, "Clients reach one Service; a master and two workers serve them")
    who = (
        (f"report {agents}, enrol {enrolment}", "agents"),
        (f"syslog over TLS {senders}", "log senders"),
        (f"REST API {api}", "people, scripts"),
    )
    for number, (label, name) in enumerate(who):
        y = 40 + 80 * number
        picture.box((20, y, 130, 50), name)
        picture.arrow((150, y + 25), (390, 150 + 6 * (number - 1)), label)
    picture.box((390, 105, 110, 90), "one Service", "one address", "one identity")
    roles = (
        ("wazuh-server/0", "master"),
        ("wazuh-server/1", "worker"),
        ("wazuh-server/2", "worker"),
    )
    for number, (unit, role) in enumerate(roles):
        y = 30 + 90 * number
        width, kind = (190, "strong") if number == 0 else (150, "plain")
        picture.box((610, y, width, 60), unit, role, kind=kind)
        picture.arrow((500, 150 + 8 * (number - 1)), (610, y + 30))
    picture.arrow((680, 90), (680, 120))
    picture.arrow((785, 90), (762, 235))
    picture.note(
        410, 285, "When the master's node is lost, another unit becomes master by itself."
    )
    return picture.svg()


def architecture() -> str:
    """Show one unit: the charm's container, the workload's, what runs in it, and its ports."""
    ports = _own_ports()
    picture = Picture(860, 520, "One unit: two containers, Pebble in the workload, its ports")
    picture.box((20, 30, 820, 400), "pod wazuh-server-0", kind="frame")
    picture.box((40, 70, 200, 330), "container charm", kind="frame")
    picture.box((60, 110, 160, 56), "Juju's unit agent", "as an ordinary user")
    picture.box((60, 210, 160, 70), "charm", "reads Juju, decides,", "writes files")
    picture.arrow((140, 166), (140, 210), "hooks")
    picture.box((300, 70, 520, 330), "container wazuh-server", kind="frame")
    picture.box((320, 210, 120, 70), "Pebble", "first process", kind="strong")
    picture.arrow((220, 245), (320, 245), "its socket", both=True)
    picture.box((480, 100, 320, 120), "service wazuh", kind="frame")
    picture.box(
        (495, 130, 130, 76), "supervisor", f"peers {ports['peers']}", f"ready {ports['health']}"
    )
    picture.box((655, 130, 130, 76), "Wazuh", f"{_daemon_ports()}", f"cluster {ports['cluster']}")
    picture.arrow((625, 168), (655, 168))
    picture.box((495, 240, 130, 50), "rsyslog", str(_ports()[2]))
    picture.box((655, 240, 130, 50), "repository", "Git, own user")
    for target in ((480, 170), (495, 265)):
        picture.arrow((440, 245), target)
    picture.box(
        (480, 320, 320, 50), "volume data", "/var/ossec/queue and, by links, what else lasts"
    )
    picture.arrow((720, 220), (720, 240))
    picture.arrow((560, 290), (560, 320))
    picture.box((300, 450, 520, 50), "the application's Service", " ".join(map(str, _ports())))
    picture.arrow((560, 450), (560, 402), "ready units only")
    picture.box((40, 450, 200, 50), "other units", f"{ports['cluster']}, {ports['peers']}")
    picture.arrow((240, 470), (300, 402), both=True)
    return picture.svg()


def move() -> str:
    """Show a move in time, with the waits that the supervisor keeps."""
    from supervisor.times import REAL

    picture = Picture(860, 400, "A move of the master in five steps")
    picture.box((40, 30, 220, 50), "Juju's leader", "one write: epoch 2, master 1")
    picture.box((320, 30, 220, 50), "unit 1", "worker, then master", kind="strong")
    picture.box((600, 30, 220, 50), "unit 0", "master, then worker")
    for x in (150, 430, 710):
        picture.arrow((x, 80), (x, 335))
    steps = (
        ((150, 430), 115, "decide: desired epoch 2"),
        ((430, 710), 155, "claim: who knows which keys?"),
        ((710, 430), 205, "release: enrolment shut, all keys"),
        ((430, 710), 310, "follow: one daemon starts anew"),
    )
    for (start, end), y, label in steps:
        picture.arrow((start, y), (end, y), label)
    picture.box((330, 225, 200, 54), "gather, reserve ids,", "start as master")
    picture.note(
        430, 360, f"No answer: a master that reaches nobody stands down after {REAL.fence:g} s;"
    )
    picture.note(430, 380, f"the claimant waits {REAL.takeover:g} s, so two never serve at once.")
    return picture.svg()


def _ports() -> tuple[int, ...]:
    from src import files

    return files.PORTS


def _daemon_ports() -> str:
    agents, enrolment, _, api = _ports()
    return f"{agents} {enrolment} {api}"


def _own_ports() -> dict[str, int]:
    from supervisor.places import Ports

    template = (ROOT / "templates/ossec.conf.j2").read_text()
    cluster = re.search(r"<cluster>.*?<port>(\d+)</port>", template, re.DOTALL)
    own = Ports()
    return {
        "peers": own.peers,
        "health": own.health,
        "cluster": int(cluster[1]) if cluster else 1516,
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in drawn().items():
        (FOLDER / name).write_text(content)
