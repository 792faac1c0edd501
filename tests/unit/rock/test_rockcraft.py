"""rockcraft.yaml without building it: what our code names is there, pinned, laid out alike."""

import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import image
from src import files, wazuh

ROOT = Path(__file__).resolve().parents[3]
ROCK = ROOT / "rock"
# What rockcraft's published schema lets stand at the top.
_KNOWN = {
    *{"name", "title", "version", "summary", "description", "contact", "issues", "source-code"},
    *{"license", "base", "platforms", "package-repositories", "parts"},
}
# Whose package brings a program, a folder, or what one of our own paths begins with.
_PROVIDERS = {
    "/usr/sbin/rsyslogd": "rsyslog",
    "/usr/share/filebeat": "filebeat",
    "/usr/bin/filebeat": "filebeat",
    "/etc/filebeat": "filebeat",
    "/usr/sbin": "rsyslog",
    "/bin": "procps",
    "/var/ossec": "wazuh-manager",
    "git": "git",
}
# What every Ubuntu base has (coreutils).
_OF_THE_BASE = {"/bin/sleep"}
# Made at run time: by Juju, by the charm before its first push, or there in every system.
_MADE_LATER = (
    *("/charm/", files.ROOT, files.RUN, "/var/lib/filebeat", "/bin/false", "/usr/local/sbin"),
    *("/dev/", "/proc", "/run/", "/tmp", "/etc/ssl", "/etc/passwd", "/etc/group", "/etc/hosts"),
    *("/etc/resolv.conf", "/usr/sbin/nologin", "/var/run"),
)
_PATH = re.compile(r"[\"'(= ](/(?:opt|usr|bin|sbin|var|etc|run|charm|srv|dev|proc)[\w./-]*)")


@pytest.fixture(scope="module")
def rock() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "rockcraft.yaml").read_text())


def _packages(rock: dict[str, Any]) -> dict[str, str]:
    """Return each package's version; of the base's own archive none is asked for."""
    asked = [p for part in rock["parts"].values() for p in part.get("overlay-packages", ())]
    return {name: version for name, _, version in (word.partition("=") for word in asked)}


def _sources(folder: Path) -> list[Path]:
    """Return all files of a folder but caches."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    own = [p for p in found if not any(w[0] == "." or w == "__pycache__" for w in p.parts)]
    return [folder / path for path in own]


def _named_paths() -> set[str]:
    sources = [*(ROOT / "src").glob("*.py"), *(ROOT / "templates").glob("*")]
    texts = [path.read_text() for path in (*sources, *_sources(ROCK))]
    return {found.rstrip("./") for text in texts for found in _PATH.findall(text)}


def _placed(rock: dict[str, Any]) -> set[str]:
    """Return every path that the parts put into the image by name."""
    own = rock["parts"]["own"]["organize"].values()
    module = rock["parts"]["filebeat-module"]["organize"].values()
    made = re.findall(r"CRAFT_PART_INSTALL\}/([\w./-]+)", str(rock["parts"]["places"]))
    return {f"/{path}" for path in (*own, *module, *made)} | {"/opt/wazuh-server"}


def test_given_the_rock_when_read_then_it_is_what_the_schema_and_the_charm_ask_for(rock) -> None:
    charm = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())
    resource = charm["resources"]["wazuh-server-image"]

    assert set(rock) <= _KNOWN
    assert re.fullmatch(r"[a-z](?:-?[a-z0-9])*", rock["name"])
    assert rock["name"] == charm["name"]
    assert rock["base"] == charm["base"]
    assert set(rock["platforms"]) == set(charm["platforms"])
    assert len(rock["summary"]) < 80
    assert resource["upstream-source"].endswith(f"/{rock['name']}:{rock['version']}")


def test_given_the_vendor_s_packages_when_asked_for_then_each_is_pinned_and_signed(rock) -> None:
    packages, (repository,) = _packages(rock), rock["package-repositories"]

    assert packages["wazuh-manager"].partition("-")[0] == rock["version"]
    assert re.fullmatch(r"\d+(\.\d+)+-\d+", packages["filebeat"])
    assert re.fullmatch(r"[0-9A-F]{40}", repository["key-id"])
    assert repository["url"].startswith("https://")
    assert repository["key-server"].startswith("https://")
    sources = [part["source"] for part in rock["parts"].values() if "source" in part]
    for part in rock["parts"].values():
        if part.get("source", "").startswith("http"):
            assert part["source"].startswith("https://")
            assert re.fullmatch(r"[0-9a-f]{40}", part["source-commit"])
    assert {source for source in sources if not source.startswith("http")} == {"rock"}


def test_given_the_parts_when_scripts_run_then_the_accounts_come_before_any_package(rock) -> None:
    order = ["accounts", "system", "wazuh"]

    assert [rock["parts"][name]["after"] for name in order[1:]] == [["accounts"], ["system"]]
    with_packages = {n for n, part in rock["parts"].items() if "overlay-packages" in part}
    assert with_packages <= {*order}
    for name in re.findall(r"CRAFT_PART_SRC\}/([\w-]+)", str(rock["parts"])):
        assert (ROCK / name).stat().st_mode & stat.S_IXUSR


def test_given_all_paths_our_files_name_when_looked_for_then_a_part_brings_each(rock) -> None:
    packages, placed, lost = _packages(rock), _placed(rock), set()
    for path in _named_paths():
        if path.startswith(_MADE_LATER):
            continue
        own = any(path == p or path.startswith(f"{p}/") for p in placed if p.count("/") > 2)
        by = [who for p, who in _PROVIDERS.items() if path == p or path.startswith(f"{p}/")]
        if not (own or path in placed or any(who in packages for who in by)):
            lost.add(path)

    assert lost == set()


def test_given_the_programs_of_our_services_when_looked_for_then_a_part_brings_each(rock) -> None:
    layers = [yaml.safe_load((ROCK / "layers/001-wazuh-server.yaml").read_text())]
    commands = re.findall(r"\"command\": \(?f?\"(/[\w./-]+)", (ROOT / "src/files.py").read_text())
    commands += [s["command"].split()[0] for la in layers for s in la.get("services", {}).values()]

    assert len(commands) >= 3
    for command in commands:
        placed = _placed(rock) | _OF_THE_BASE
        assert command in placed or _PROVIDERS[command] in _packages(rock)
    assert _PROVIDERS["git"] in _packages(rock)


def test_given_everything_in_rock_when_listed_then_the_image_takes_it_or_the_build_needs_it(
    rock,
) -> None:
    own = set(rock["parts"]["own"]["organize"])
    scripts = set(re.findall(r"CRAFT_PART_SRC\}/([\w-]+)", str(rock["parts"])))
    # What lay-out puts among Wazuh's own files.
    laid = dict(re.findall(r"^place (\S+) (\d+)$", (ROCK / "lay-out").read_text(), re.MULTILINE))
    known = {own_name.partition("/")[0] for own_name in own} | scripts | {"accounts", "wazuh"}

    assert {str(path.relative_to(ROCK / "wazuh")) for path in _sources(ROCK / "wazuh")} == {*laid}
    tops = {path.name for path in ROCK.iterdir() if path.name[0] not in "._"}
    assert tops == known
    for folder in ("bin", "layers"):
        assert {f"{folder}/{path.name}" for path in (ROCK / folder).iterdir()} <= own


def test_given_the_baked_in_check_when_compared_then_it_is_the_one_the_charm_asks_for() -> None:
    layer = yaml.safe_load((ROCK / "layers/001-wazuh-server.yaml").read_text())

    assert layer["checks"] == {"ready": files._READY}
    assert "services" not in layer


def test_given_the_users_that_own_our_files_when_looked_for_then_the_image_has_them(rock) -> None:
    accounts = image.accounts()
    owners = {owner.user for owner in files._OWNERS.values()}
    groups = {owner.group for owner in files._OWNERS.values()} | {
        account[3] for account in accounts.values()
    }
    users = set(re.findall(r"\"user\": \"([\w-]+)\"", (ROOT / "src/files.py").read_text()))

    assert owners | users <= set(accounts)
    assert {owner.group for owner in files._OWNERS.values()} <= groups
    for part in rock["parts"].values():
        for permission in part.get("permissions", ()):
            assert permission["owner"] in {account[1] for account in accounts.values()}
    _, uid, gid, _, home = accounts["wazuh-git"]
    (place,) = rock["parts"]["places"]["permissions"]
    assert (place["owner"], place["group"], f"/{place['path']}") == (uid, gid, home)


@pytest.mark.skipif(shutil.which("useradd") is None, reason="needs useradd, as the build does")
def test_given_a_root_when_accounts_are_added_twice_then_they_are_those_of_the_sandbox(
    tmp_path: Path,
) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\nadm:x:4:\n")
    for name in ("shadow", "gshadow"):
        (etc / name).touch()
    maker = ["unshare", "--user", "--map-root-user", ROCK / "add-accounts", tmp_path]

    for _ in range(2):
        done = subprocess.run(maker, capture_output=True, text=True, check=False)
        if "unshare" in done.stderr:
            pytest.skip("this kernel gives an ordinary user no namespace")
        assert done.returncode == 0, done.stderr

    lines = [line.split(":") for line in (etc / "passwd").read_text().splitlines()]
    added = {name: (int(uid), int(gid), home) for name, _, uid, gid, _, home, _ in lines}
    for name, (_, uid, gid, _, home) in image.accounts().items():
        if name not in {"daemon", "nobody"}:
            assert added[name] == (uid, gid, home)


def test_given_the_sandbox_s_image_when_laid_out_then_it_is_exactly_what_the_parts_put_there(
    rock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installation(home: Path) -> None:
        for name in ("etc", "logs", "stats", "backup", "api/configuration", "queue/db", "var"):
            (home / name).mkdir(parents=True)

    monkeypatch.setattr(image.os, "chown", lambda *_: None)
    image.build(ROOT, tmp_path / "image", installation, single=True)

    root = tmp_path / "image"
    own = root / "opt/wazuh-server"
    found = {
        f"/{path.relative_to(root)}"
        for path in [*own.rglob("*"), *(root / "var/lib/pebble").rglob("*")]
        if path.is_file() and "seed" not in path.parts
    }
    wanted = {"/opt/wazuh-server/version"}
    for source, target in rock["parts"]["own"]["organize"].items():
        tree = [ROCK / source] if (ROCK / source).is_file() else _sources(ROCK / source)
        for path in tree:
            if path.name != "ruff.toml":
                inner = path.relative_to(ROCK / source)
                wanted.add(f"/{target}/{inner}".removesuffix("/."))
    assert found == wanted
    assert (own / "bin/supervisor").stat().st_mode & stat.S_IXOTH
    assert (root / "var/ossec/etc").is_symlink()
    assert rock["name"] == wazuh.CONTAINER
