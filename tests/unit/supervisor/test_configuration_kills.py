"""A configuration of 50 files, killed with SIGKILL before every step of its application.

From the keeping of the bundle over the check in a second home to the swap, the reload and the
memory of it; then before every step of going back. The files are the old or the new, never a mix.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import pytest
from supervisor import configuration, ruleset
from supervisor.places import Places
from supervisor.ruleset import Duty, Keeper

from tests.unit.supervisor.analysis import install_check, lay_out, texts

OLD, NEW = "ab" * 20, "cd" * 20
FILES = {
    **{f"rules/r{number}.xml": f"<group>{{}} {number}</group>" for number in range(20)},
    **{f"lists/l{number}": f"{{}}:{number}" for number in range(10)},
    **{f"groups/g{number}/agent": f"{{}} {number}" for number in range(10)},
    **{f"sca/s{number}": f"{{}} {number}" for number in range(9)},
    "ossec.conf": "<ossec_config>{}</ossec_config>",
}
# A kill between a draft's first byte and its renaming leaves what one before its renaming leaves.
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "subprocess.Popen", "analysisd"}
# Nothing that is in force is touched in the second home: CI takes a part of the steps there.
_EVERY = 1 if os.environ.get("KILLS") == "all" else 25

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A home with the old commit in force, and with the new one fetched."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(ruleset, "reload_rules", _load)
    top = tmp_path / "top"
    made = Places(home=top / "ossec", image=top / "image", repository=top / "repository")
    lay_out(made)
    install_check(made, "wazuh-analysisd", "exit 0")
    for commit in (OLD, NEW):
        for name, text in FILES.items():
            path = made.repository / commit / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(commit))
    # The new one has files that the old one has not, and the other way round.
    (made.repository / OLD / "rules/gone.xml").write_text("<group>gone</group>")
    (made.repository / NEW / "groups/fresh").mkdir()
    (made.repository / NEW / "groups/fresh/agent").write_text("fresh")
    _look(made, OLD)
    return made


def _load(_home: Path) -> list[str]:
    """Stand in for analysisd's socket: this process has no thread that could serve it."""
    sys.audit("analysisd")
    return []


def _look(places: Places, commit: str) -> None:
    keeper = Keeper(places, {"PATH": "/usr/bin:/bin"})
    keeper.look(Duty(True, commit, lambda: True), 0, running=True)


class _Steps:
    """Ends the process before a step: a file or folder made or removed, a program started."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.checking = 0

    def __call__(self, event: str, arguments: tuple) -> None:
        made = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if not made and event not in _CHANGES:
            return
        # The second home is removed by names within opened folders.
        if "/check-" in str(arguments[:2]) or (
            event in ("os.remove", "os.rmdir") and _is_within(arguments)
        ):
            self.checking += 1
            if self.checking % _EVERY:
                return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _is_within(arguments: tuple) -> bool:
    return arguments[-1] != -1


def _killed(act: Callable[[], None], step: int) -> bool:
    """Do it in a process that ends before its step; false when it had fewer."""
    child = os.fork()
    if child == 0:
        sys.addaudithook(_Steps(step))
        try:
            act()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _everything(top: Path) -> dict[str, bytes | None]:
    """Return all files and folders below, but for what only the check needs."""
    return {
        str(path.relative_to(top)): path.read_bytes() if path.is_file() else None
        for path in top.rglob("*")
        if "/tmp/" not in str(path.relative_to(top))
    }


def _each_kill(top: Path, act: Callable[[], None]) -> Iterator[None]:
    """Do it again and again from the same state, killed a step later each time."""
    state = top.with_name(f"{top.name}-state")
    shutil.copytree(top, state)
    before = _everything(top)
    for step in count(1):
        if not _killed(act, step):
            break
        yield
        if _everything(top) != before:
            shutil.rmtree(top)
            shutil.copytree(state, top)
    shutil.rmtree(state)


def _after(places: Places) -> dict[str, dict[str, str]]:
    """Return all files as they are with the old and with the new, and leave the old in force."""
    found = {OLD: texts(places)}
    _look(places, NEW)
    found[NEW] = texts(places)
    _look(places, OLD)
    assert texts(places) == found[OLD]
    return found


def test_given_fifty_files_when_killed_before_every_step_then_it_is_the_old_or_the_new(places):
    expected = _after(places)
    found: dict[str, int] = {OLD: 0, NEW: 0}
    seen: list[dict[str, bytes | None]] = []

    for _ in _each_kill(places.home.parent, lambda: _look(places, NEW)):
        configuration.recover(places)
        held = configuration.applied(places).name
        assert texts(places) == expected[held]
        found[held] += 1
        left = _everything(places.home)
        if left not in seen:
            # What was left like this before went on like this before.
            seen.append(left)
            _look(places, NEW)
            assert texts(places) == expected[NEW]
            assert list((places.home / "tmp").iterdir()) == []

    sys.stdout.write(
        f"{len(FILES)} files: killed before {sum(found.values())} steps, then {found[OLD]} times "
        f"the old, {found[NEW]} times the new\n"
    )
    assert len(FILES) >= 50
    assert found[OLD] > 2 * len(FILES)
    assert found[NEW] >= 1


def test_given_a_swap_cut_off_when_going_back_is_killed_at_every_step_then_it_is_the_old(places):
    expected = _after(places)[OLD]
    kills = _each_kill(places.home.parent, lambda: _look(places, NEW))
    halves = (None for _ in kills if texts(places) != expected)
    next(islice(halves, 40, None))
    assert texts(places) != expected

    for _ in _each_kill(places.home, lambda: configuration.recover(places)):
        configuration.recover(places)
        assert configuration.applied(places).name == OLD
        assert texts(places) == expected
