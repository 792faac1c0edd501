"""Asking a container's Pebble over its unix socket, as Juju's agent and kubelet do."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

# Marks our own requests, so that they are told from the charm's in Pebble's log.
MARK = "sandbox"
_VERDICTS = {("perform-check", "Error"): False, ("recover-check", "Done"): True}
_DEAD = (OSError, asyncio.IncompleteReadError, ValueError, IndexError)


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice as Pebble lists it; a `change-update`'s key is its change's id."""

    id: str
    type: str
    key: str
    repeated: str


@dataclass(frozen=True, slots=True)
class Pebble:
    """One Pebble. Every question gives None when nobody answers in time."""

    socket: str

    async def boot_id(self) -> str | None:
        """Return the boot id, which is another one after each restart of the container."""
        reply = await self._ask("/v1/system-info", {}, 2)
        return None if reply is None else (reply[1].get("result") or {}).get("boot-id")

    async def healthy(self, level: str) -> bool:
        """Say whether the checks of `level` (ready, alive) pass; no answer counts as no."""
        reply = await self._ask("/v1/health", {"level": level}, 2)
        return reply is not None and reply[0] == 200

    async def notices(self, after: str, wait: float) -> list[Notice] | None:
        """Wait up to `wait` seconds for notices since `after`, of every user.

        Juju before 3.6.25 and 4.0.13 asks without `users=all`, and so never hears of a notice
        that another user than its agent's own recorded (juju/juju 08a5da6e9b).
        """
        query = {"types": "custom,change-update", "users": "all", "timeout": f"{wait:g}s"}
        since = {"after": after} if after else {}
        reply = await self._ask("/v1/notices", query | since, wait + 2)
        if reply is None or reply[0] != 200:
            return None
        return [_notice(item) for item in reply[1].get("result") or []]

    async def check_outcome(self, change: str) -> tuple[str, bool] | None:
        """Return a check's name and whether it passes, when this change ended with a verdict.

        Juju reads the same (uniter's pebblenotices.go): `perform-check` ends in Error when the
        check fails as often as its threshold, `recover-check` in Done when it passes again.
        """
        reply = await self._ask(f"/v1/changes/{change}", {}, 2)
        result = (reply[1].get("result") or {}) if reply else {}
        passes = _VERDICTS.get((result.get("kind", ""), result.get("status", "")))
        name = (result.get("data") or {}).get("check-name")
        return None if passes is None or name is None else (name, passes)

    async def services(self) -> list[dict[str, Any]]:
        """Return the services with their `current` state and `current-since`."""
        reply = await self._ask("/v1/services", {}, 2)
        return (reply[1].get("result") or []) if reply else []

    async def _ask(
        self, path: str, query: dict[str, str], timeout: float
    ) -> tuple[int, dict[str, Any]] | None:
        try:
            async with asyncio.timeout(timeout):
                return await self._get(f"{path}?{urlencode(query | {MARK: '1'})}")
        except _DEAD:
            return None

    async def _get(self, target: str) -> tuple[int, dict[str, Any]]:
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(f"GET {target} HTTP/1.0\r\nHost: pebble\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split()[1]), json.loads(body)
        finally:
            writer.close()


def _notice(item: dict[str, Any]) -> Notice:
    return Notice(
        id=item["id"],
        type=item["type"],
        key=item["key"],
        repeated=item["last-repeated"],
    )
