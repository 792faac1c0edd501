"""Where an installation lies, how it logs, and by how much its delays are shortened."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

VERSION = "v4.14.7"
REVISION = "stand-in"


def time_scale() -> float:
    """Return the factor (1 or more) that divides every delay."""
    with suppress(ValueError):
        return max(1.0, float(os.environ.get("WAZUH_SERVER_TIME_SCALE", "1")))
    return 1.0


def scaled(seconds: float) -> float:
    """Return real seconds as they last under the clock factor."""
    return seconds / time_scale()


def pause(seconds: float) -> None:
    """Sleep for real seconds, divided by the clock factor."""
    time.sleep(scaled(seconds))


def belongs_to_wazuh(path: Path, mode: int) -> None:
    """Give a file to user and group wazuh where they exist and we may."""
    with suppress(OSError):
        path.chmod(mode)
    if os.geteuid() == 0:
        import pwd

        with suppress(KeyError, OSError):
            account = pwd.getpwnam("wazuh")
            os.chown(path, account.pw_uid, account.pw_gid)


class Home:
    """One daemon's view of its installation, found from the place of its own program."""

    __slots__ = ("daemon", "path", "program")

    def __init__(self, program: str):
        self.program = program
        self.daemon = Path(program).name
        self.path = Path(program).parent.resolve().parent

    def __truediv__(self, relative: str) -> Path:
        """Return a path below the home."""
        return self.path / relative

    def log(self, level: str, message: str) -> None:
        """Write a line to logs/ossec.log; never fails, not even on a full disk."""
        stamp = time.strftime("%Y/%m/%d %H:%M:%S")
        self.append("logs/ossec.log", f"{stamp} {self.daemon}: {level}: stand-in: {message}\n")

    def append(self, relative: str, text: str) -> None:
        """Add text to a log file, in one write."""
        path = self / relative
        with suppress(OSError):
            new = not path.exists()
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
            if new:
                belongs_to_wazuh(path, 0o660)

    def complain(self, message: str) -> None:
        """Say an error on the terminal and in the log."""
        print(f"{self.daemon}: ERROR: stand-in: {message}", file=sys.stderr)
        self.log("ERROR", message)

    def pid_file(self, name: str, pid: int) -> Path:
        """Return the pid file of a process, `var/run/NAME-PID.pid`."""
        return self / f"var/run/{name}-{pid}.pid"

    def write_pid(self, name: str) -> None:
        """Leave this process's pid file."""
        path = self.pid_file(name, os.getpid())
        path.write_text(f"{os.getpid()}\n")
        path.chmod(0o640)

    def running(self, name: str) -> bool:
        """Return whether a daemon has a pid file whose process lives."""
        for path in (self / "var/run").glob(f"{name}-*.pid"):
            if Path("/proc", path.stem.rpartition("-")[2]).exists():
                return True
        return False
