"""Lays the foreign installation: `python -m tests.foreign_wazuh.build FOLDER`.

It shares nothing with the stand-in: shell where that has Python and the other way round, another
version, other log lines, slower starts, helper processes beside the daemons.
"""

import shutil
import subprocess
import sys
from pathlib import Path

PARTS = Path(__file__).parent / "parts"
DAEMONS = {
    "engine.sh": "analysisd apid authd clusterd db remoted",
    "waiter.sh": "execd logcollector modulesd monitord syscheckd",
    "absent.sh": "agentlessd csyslogd integratord maild",
}
FOLDERS = (
    "api/configuration/security api/configuration/ssl backup bin etc/decoders etc/lists etc/rules "
    "etc/shared/default framework/python/bin logs queue/cluster queue/db queue/sockets ruleset "
    "stats tmp var/multigroups var/run"
)
FILES = "client.keys internal_options.conf rules/local_rules.xml shared/default/agent.conf"


def build(folder: Path, python: Path = Path(sys.executable)) -> None:
    """Lay it at a folder, for that Python (3.10 or later)."""
    for name in FOLDERS.split():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(0o777)
    programs = {"control.sh": "control"} | DAEMONS
    for part, names in programs.items():
        for name in names.split():
            shutil.copy(PARTS / "bin" / part, folder / f"bin/wazuh-{name}")
            (folder / f"bin/wazuh-{name}").chmod(0o755)
    for name in FILES.split():
        (folder / "etc" / name).touch(0o666)
    (folder / "etc/ossec.conf").write_text("<ossec_config>\n</ossec_config>\n")
    _lay_python(folder / "framework/python", python)


def _lay_python(place: Path, python: Path) -> None:
    question = "import sys; print(sys.base_prefix, 'python%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([python, "-c", question], check=True, capture_output=True, text=True)
    prefix, name = answer.stdout.split()
    (place / "pyvenv.cfg").write_text(f"home = {prefix}/bin\n")
    (place / "bin/python3").unlink(missing_ok=True)
    (place / "bin/python3").symlink_to(Path(prefix, "bin", name).resolve())
    package = place / "lib" / name / "site-packages/wazuh"
    shutil.copytree(PARTS / "wazuh", package, dirs_exist_ok=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
