"""A run that is killed at any of its effects leaves the old files or the new, never a mix."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count

# Ends the process at the n-th change it would make to a file or directory, or at the n-th
# program it would start: an audit hook hears of each before it happens.
KILLED = """
import os, signal, sys
sys.path.insert(0, "rock")
from pathlib import Path
from repository.places import Limits, Places
from repository.run import run

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "subprocess.Popen"}
left = int(sys.argv[1])
home = sys.argv[3]

def hook(event, arguments):
    global left
    writes = event == "open" and arguments[1] == "wb" and str(arguments[0]).startswith(home)
    if event in CHANGES or writes:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
run(Places(*map(Path, sys.argv[2:])), Limits())
"""


def killed_runs(charm) -> Iterator[None]:
    """Run from the same state again and again, killed one effect later each time.

    Yields after each killed run, and ends with the run that had fewer effects than that.
    """
    places = charm.places
    paths = [str(places.request), str(places.home), str(places.socket)]
    state = places.home.with_name("state")
    shutil.copytree(places.home, state)
    for effect in count(1):
        command = [sys.executable, "-c", KILLED, str(effect), *paths]
        status = subprocess.run(command, check=False, capture_output=True).returncode
        if status == 0:
            return
        assert status == -signal.SIGKILL
        yield
        shutil.rmtree(places.home)
        shutil.copytree(state, places.home)


def test_given_a_run_killed_at_every_effect_when_looked_at_then_a_tree_is_whole(
    charm, origin, url, rules
):
    files = {f"rules/{number}.xml": rules for number in range(3)}
    first = origin.commit(files)
    charm.result(url)
    changed = {name: rules.replace(b"100100", b"100200") for name in files}
    second = origin.commit(changed)
    contents = {first: files, second: changed}
    charm.ask(url)

    kills = 0
    for _ in killed_runs(charm):
        kills += 1
        commit = charm.read()["commit"]
        assert charm.tree(commit) == contents[commit]
        for tree in charm.trees() & contents.keys():
            assert charm.tree(tree) == contents[tree]
        charm.run()
        assert charm.read() == {"request": "r1", "commit": second, "error": None}
        assert charm.tree(second) == contents[second]
        names = {path.name for path in charm.places.home.iterdir()}
        assert names - {first} == {second, "result.json"}

    assert kills > 20


def test_given_old_trees_when_killed_while_they_are_removed_then_none_is_half_there(
    charm, origin, url, rules
):
    contents = {}
    for number in range(2):
        # The tree of another time, of which this run knows nothing but its name.
        files = {f"rules/{name}.xml": rules for name in "ab"}
        stale = charm.places.home / f"{number:040x}"
        contents[stale.name] = files
        for name, content in files.items():
            (stale / name).parent.mkdir(parents=True, exist_ok=True)
            (stale / name).write_bytes(content)
    commit = origin.commit({"rules/new.xml": rules})
    contents[commit] = {"rules/new.xml": rules}
    charm.ask(url)

    for _ in killed_runs(charm):
        for tree in charm.trees() & contents.keys():
            assert charm.tree(tree) == contents[tree]

    assert charm.trees() == {commit}
    assert json.loads(charm.places.result.read_text())["commit"] == commit
