"""The configuration from a repository in force on this unit, and rules reloaded on any change.

Each unit watches its own files, so workers reload after the cluster's copying too. What needs a
restart waits for its turn: one unit after the other, the master last.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import bundle, configuration
from .bundle import BundleError
from .places import Places
from .probes import NoAnswerError, reload_rules

_KINDS = ("rules", "decoders", "lists")
_RETRY_SECONDS = 60.0
_DRIFT_SECONDS = 10.0
#: However long another unit takes, this one goes on then.
_TURN_SECONDS = 600.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What the charm is told: the commit in place, why a wanted one is not, what was mended."""

    commit: str | None = None
    error: str | None = None
    mended: str | None = None


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Duty:
    """What is wanted of this unit now."""

    master: bool = False
    wanted: str = ""  # a tree's name, `none`, or nothing: leave what is there
    is_turn: Callable[[], bool] = _never  # whether a restart disturbs no other unit's


class Keeper:
    """Keeps in force what is wanted; look about once a second."""

    def __init__(self, places: Places, environment: Mapping[str, str] | None = None) -> None:
        self._places = places
        self._environment = dict(os.environ if environment is None else environment)
        self._watch = Watch(places)
        self._refused: str | None = None  # what was tried last in vain
        self._again = 0.0
        self._checked = ""
        self._since: tuple[str, float] = ("", 0.0)  # since when a restart waits
        self._next_mend = 0.0
        name = configuration.applied(places).name
        #: What this master wants every unit to have; '' wants nothing.
        self.offer = name
        #: What this unit has last brought in force, or refused.
        self.tried = name
        self.report = Report(_shown(name))

    def look(self, duty: Duty, now: float, *, running: bool) -> None:
        """Bring in force what is wanted, and have any change loaded."""
        if not running:
            self._watch.started()
            return
        try:
            if duty.wanted:
                self._place(duty, now)
            if now >= self._next_mend:
                self._next_mend = now + _DRIFT_SECONDS
                self._mend(master=duty.master)
            if self._watch.changed():
                self._reload()
        except (OSError, NoAnswerError) as error:
            _log.warning("the configuration could not be looked after: %s", error)

    def _place(self, duty: Duty, now: float) -> None:
        held, wanted = configuration.applied(self._places), duty.wanted
        if (held.name, held.master) == (wanted, duty.master):
            if self.report.commit != _shown(wanted) or self.report.error:
                self.report = Report(_shown(wanted))
            self.offer = self.tried = wanted
            return
        if wanted in (self._refused, held.refused) and now < self._again:
            return
        try:
            if wanted == held.refused:
                raise configuration.RefusedError("Wazuh does not start with it")
            self._swap(duty, now)
        except (configuration.RefusedError, BundleError, NoAnswerError, OSError) as error:
            self._refuse(wanted, held.name, error, now)

    def _refuse(self, wanted: str, held: str, error: Exception, now: float) -> None:
        said = str(error)
        if isinstance(error, (OSError, NoAnswerError)):
            said = f"the configuration could not be put in force: {error}"
        self.report = Report(_shown(held), said)
        self._refused, self._again = wanted, now + _RETRY_SECONDS
        self._checked = ""
        self.tried, self.offer = wanted, held
        _log.warning("%s", said)
        self._watch.started()

    def _swap(self, duty: Duty, now: float) -> None:
        """Check, wait for the turn where a restart is due, and swap."""
        old, new = configuration.current(self._places), bundle.read(self._places, duty.wanted)
        if self._checked != new.name:
            with configuration.LOCK:
                bundle.keep(self._places, new)
            found = configuration.complaint(
                self._places, old, new, self._environment, master=duty.master
            )
            if found:
                raise configuration.RefusedError(f"Wazuh refuses it: {found}")
            self._checked = new.name
        self.offer = new.name
        if configuration.needs_restart(old, new) and not self._may_restart(duty, now):
            return
        load = (lambda: reload_rules(self._places.home)) if duty.master else None
        configuration.apply(self._places, new, master=duty.master, load=load)
        self.report, self.tried, self._refused = Report(_shown(new.name)), new.name, None
        if duty.master:
            self._watch.started()
        _log.info("the configuration of commit %s is in place", new.name[:12])

    def _may_restart(self, duty: Duty, now: float) -> bool:
        if self._since[0] != duty.wanted:
            self._since = (duty.wanted, now)
        return duty.is_turn() or now - self._since[1] > _TURN_SECONDS

    def _mend(self, *, master: bool) -> None:
        """Put back what somebody changed; the cluster does so for what it copies."""
        held = configuration.current(self._places)
        found = configuration.drifted(self._places, held, master=master)
        if found:
            _log.warning("changed by hand and put back: %s", ", ".join(found)[:300])
            configuration.restore(self._places, master=master)
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            self.report = replace(self.report, mended=f"{found[0]}{more}")

    def _reload(self) -> None:
        errors = self._watch.reload()
        for error in errors:
            _log.warning("rules: %s", error)
        if not errors:
            _log.info("rules reloaded: they had changed")


def _shown(name: str) -> str | None:
    return None if name in ("", bundle.NONE) else name


@dataclass(slots=True)
class Watch:
    """Tells when the unit's own rules differ from those that analysisd last read."""

    places: Places
    loaded: str | None = None
    last: str = field(default="")

    def started(self) -> None:
        """Note that analysisd has just read what is there."""
        self.loaded = self._digest()

    def changed(self) -> bool:
        """Tell whether to reload: different, and no longer being written to."""
        current, last = self._digest(), self.last
        self.last = current
        if self.loaded is None:
            self.loaded = current
        return current != self.loaded and current == last

    def reload(self) -> list[str]:
        """Reload, and return analysisd's errors. Raises NoAnswerError; then ask again."""
        current = self._digest()
        errors = reload_rules(self.places.home)
        self.loaded = current
        return errors

    def _digest(self) -> str:
        text = "\n".join(sorted(self._entries()))
        return hashlib.sha256(text.encode()).hexdigest()

    def _entries(self) -> Iterator[str]:
        # Which lists analysisd knows stands in ossec.conf.
        yield configuration.applied(self.places).name
        for kind in _KINDS:
            for root, _, names in os.walk(self.places.home / "etc" / kind):
                for name in names:
                    if not name.endswith(bundle.PASSING):
                        yield from self._entry(Path(root, name))

    def _entry(self, path: Path) -> Iterator[str]:
        with suppress(OSError):
            status = path.stat()
            yield f"{path} {status.st_size} {status.st_mtime_ns}"
