"""What the volume remembers, and how it is first filled."""

from __future__ import annotations

import errno
import json
import shutil
import stat
from pathlib import Path

import pytest
from supervisor import seed, volume
from supervisor.machine import Memory, Term
from supervisor.places import Places

_MEMORY = Memory(Term(5, "u1"), 4, Term(4, "u0"), "4-abcd-1", synchronised=True)


def test_given_a_memory_when_stored_and_loaded_then_it_is_the_same(tmp_path: Path):
    path = tmp_path / "own/memory.json"
    assert volume.load(path) == Memory()
    volume.store(path, _MEMORY)
    assert volume.load(path) == _MEMORY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "epoch": -1}', "\0\0\0", "null"],
)
def test_given_a_damaged_memory_when_loaded_then_it_is_no_new_volume(tmp_path: Path, content):
    path = tmp_path / "memory.json"
    path.write_text(content)
    with pytest.raises(volume.UnreadableError):
        volume.load(path)


def test_given_room_when_it_gets_short_then_the_ballast_makes_some_and_comes_back(tmp_path: Path):
    ballast, path = volume.Ballast(tmp_path / "own/ballast", size=4096, short=100), tmp_path
    file = path / "own/ballast"

    ballast.tend(8 * 4096)
    assert not file.exists(), "it would take what others need"
    ballast.tend(8 * 4096 + 1)
    assert file.stat().st_blocks * 512 >= 4096, "really taken, no hole"
    ballast.tend(100)
    assert file.exists()
    ballast.tend(99)
    assert not file.exists()
    ballast.tend(99 + 4096)
    assert not file.exists(), "it does not take at once what it gave up"
    ballast.tend(9 * 4096)
    assert file.exists()


def test_given_a_full_volume_when_a_ballast_is_to_be_taken_then_nothing_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    volume.Ballast(tmp_path / "ballast", size=4096).tend(2**40)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def image(tmp_path: Path) -> Places:
    """Lay out an image's seed and an empty volume."""
    places = Places(home=tmp_path / "ossec", image=tmp_path / "image")
    files = {
        "etc/ossec.conf": "default",
        "etc/internal_options.conf": "one",
        "etc/rules/local_rules.xml": "<group/>",
        "etc/lists/malicious-ioc/hashes": "a",
        "etc/shared/default/agent.conf": "agents",
        "queue/tasks/start": "x",
    }
    for name, text in files.items():
        path = places.image / "seed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (places.image / "seed/queue/sockets").mkdir()
    (places.image / "seed/queue/sockets").chmod(0o770)
    (places.image / "version").write_text("one\n")
    places.volume.mkdir(parents=True)
    return places


def test_given_an_empty_volume_when_seeded_then_everything_of_the_image_is_there(image: Places):
    seed.plant(image)
    assert (image.keep / "etc/ossec.conf").read_text() == "default"
    assert (image.volume / "tasks/start").read_text() == "x"
    assert stat.S_IMODE((image.volume / "sockets").stat().st_mode) == 0o770


def test_given_a_directory_made_when_killed_before_its_mode_was_set_then_the_next_run_sets_it(
    image: Places, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(seed, "_like", _killed)
        with pytest.raises(KeyboardInterrupt):
            seed.plant(image)
    (image.volume / "sockets").mkdir(mode=0o700, exist_ok=True)
    seed.plant(image)
    assert stat.S_IMODE((image.volume / "sockets").stat().st_mode) == 0o770


def _killed(*_paths: Path) -> None:
    raise KeyboardInterrupt


def test_given_a_seeded_volume_when_the_unit_restarts_then_nothing_comes_back(image: Places):
    seed.plant(image)
    (image.keep / "etc/rules/local_rules.xml").unlink()
    (image.keep / "etc/ossec.conf").write_text("the charm's")
    shutil.rmtree(image.volume / "sockets")
    seed.plant(image)
    assert not (image.keep / "etc/rules/local_rules.xml").exists()
    assert (image.keep / "etc/ossec.conf").read_text() == "the charm's"
    assert (image.volume / "sockets").is_dir(), "the daemons do not make their directories"


def test_given_a_newer_image_when_started_then_only_what_nobody_changed_is_renewed(
    image: Places,
):
    seed.plant(image)
    etc = image.keep / "etc"
    (etc / "ossec.conf").write_text("the charm's")
    (etc / "internal_options.conf").write_text("somebody's")
    (etc / "shared/default/agent.conf").write_text("somebody's")
    newer = image.image / "seed/etc"
    for name in ("ossec.conf", "internal_options.conf", "rules/local_rules.xml"):
        (newer / name).write_text("two")
    (newer / "shared/default/agent.conf").write_text("two")
    (newer / "lists/malicious-ioc/hashes").write_text("two")
    (newer / "rules/new.xml").write_text("two")
    (image.image / "version").write_text("two\n")
    seed.plant(image)
    assert (etc / "ossec.conf").read_text() == "the charm's"
    assert (etc / "internal_options.conf").read_text() == "two", "the image's, whoever changed it"
    assert (etc / "rules/local_rules.xml").read_text() == "two"
    assert (etc / "shared/default/agent.conf").read_text() == "somebody's"
    assert (etc / "lists/malicious-ioc/hashes").read_text() == "two"
    assert (etc / "rules/new.xml").read_text() == "two"


def test_given_a_seeding_that_was_killed_when_run_again_then_it_is_completed(
    image: Places, monkeypatch: pytest.MonkeyPatch
):
    calls = []

    def killed(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 3:
            raise KeyboardInterrupt
        Path(target).write_bytes(Path(source).read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            seed.plant(image)
    seed.plant(image)
    assert (image.keep / "etc/shared/default/agent.conf").read_text() == "agents"
    record = json.loads((image.own / "seeded.json").read_text())
    assert record["version"] == "one"
