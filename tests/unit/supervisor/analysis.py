"""A home of Wazuh's with analysisd's socket in it, which loads rules or refuses them."""

from __future__ import annotations

import json
import socket
import struct
import threading

from supervisor.places import Places

CONF = "<ossec_config>\n  <global></global>\n</ossec_config>\n"


class Analysis:
    """Answers on queue/sockets/analysis, and refuses rules that say so."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.loads: list[set[str]] = []
        path = places.home / "queue/sockets/analysis"
        path.parent.mkdir(parents=True)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it. A thread left in `accept` may take connections of who gets the number next."""
        self.server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self.server.close()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self.server.accept()
            except OSError:
                return
            with stream:
                (size,) = struct.unpack("<I", stream.recv(4))
                request = json.loads(stream.recv(size))
                assert request["command"] == "reload-ruleset"
                reply = json.dumps(self._load()).encode()
                stream.sendall(struct.pack("<I", len(reply)) + reply)

    def _load(self) -> dict:
        found = [p for p in (self.places.home / "etc").rglob("*") if p.is_file()]
        if any("broken" in p.read_text() for p in found):
            return {"error": 1, "message": "due", "data": ["ERROR: rule 100001 is broken"]}
        self.loads.append({p.name for p in found})
        return {"error": 0, "message": "ok", "data": []}


def lay_out(places: Places) -> None:
    """Make the folders that a configuration may touch, and one file that the image brings."""
    for kind in ("rules", "decoders", "lists", "shared/default"):
        (places.home / "etc" / kind).mkdir(parents=True)
    for kind in ("bin", "tmp", "integrations", "active-response/bin", "ruleset/sca"):
        (places.home / kind).mkdir(parents=True)
    (places.home / "etc/ossec.conf").write_text(CONF)
    places.keep.mkdir(parents=True)
    (places.home / "etc/rules/local_rules.xml").write_text("<group>image</group>")
    seed = places.image / "seed/etc/rules"
    seed.mkdir(parents=True)
    (seed / "local_rules.xml").write_text("<group>image</group>")


def texts(places: Places) -> dict[str, str]:
    """Return every file below the home that a configuration may touch."""
    return {
        str(path.relative_to(places.home)): path.read_text()
        for top in ("etc", "integrations", "active-response", "ruleset")
        for path in (places.home / top).rglob("*")
        if path.is_file()
    }


def install_check(places: Places, name: str, script: str) -> None:
    """Install a daemon whose `-t` runs a script at its own home."""
    program = places.home / "bin" / name
    program.write_text(f'#!/bin/sh\nhome=$(cd "${{0%/*}}/.." && pwd -P)\n{script}\n')
    program.chmod(0o755)
