"""One kube-apiserver with its etcd on the loopback, and who asks it with which rights."""

import base64
import contextlib
import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lightkube import Client, KubeConfig
from lightkube.codecs import from_dict

from tests.kubernetes import program

ADMIN, CHARM = "admin", "charm"
_SECONDS = 120.0
_TOKENS = "".join(
    f'token-of-{name},{name},{name},"{group}"\n'
    for name, group in ((ADMIN, "system:masters"), (CHARM, "charms"))
)


@dataclass(frozen=True, slots=True)
class Apiserver:
    """The running server."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def config(self, name: str) -> Path:
        """Return the kubeconfig of one of those who may ask."""
        path = self.folder / f"{name}.json"
        authority = base64.b64encode((self.folder / "certs/apiserver.crt").read_bytes()).decode()
        server = f"https://127.0.0.1:{self.port}"
        cluster = {"server": server, "certificate-authority-data": authority}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": name}}],
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": f"token-of-{name}"}}],
        }
        path.write_text(json.dumps(content))
        return path

    def admin(self) -> Client:
        """Return a client that may do anything."""
        return Client(config=KubeConfig.from_file(self.config(ADMIN)), field_manager="tests")

    def make(self, **content: Any) -> None:
        """Make an object as administrator."""
        self.admin().create(from_dict(content))

    def allow(self, name: str, rules: list[dict[str, list[str]]], namespace: str) -> None:
        """Let the charm do this."""
        group, meta = "rbac.authorization.k8s.io", {"name": name, "namespace": namespace}
        self.make(apiVersion=f"{group}/v1", kind="Role", metadata=meta, rules=rules)
        self.make(
            apiVersion=f"{group}/v1",
            kind="RoleBinding",
            metadata=meta,
            roleRef={"apiGroup": group, "kind": "Role", "name": name},
            subjects=[{"apiGroup": group, "kind": "User", "name": CHARM}],
        )

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Let it take connections and answer nobody."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Apiserver]:
    """Run both programs; they end with the block."""
    store, peer, port = (_free_port() for _ in range(3))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "accounts.key").write_bytes(pem)
    (folder / "tokens.csv").write_text(_TOKENS)
    here = "http://127.0.0.1"
    etcd = [
        str(program.etcd()),
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={here}:{store}",
        f"--advertise-client-urls={here}:{store}",
        f"--listen-peer-urls={here}:{peer}",
        f"--initial-advertise-peer-urls={here}:{peer}",
        f"--initial-cluster=default={here}:{peer}",
    ]
    apiserver = [
        str(program.apiserver()),
        f"--etcd-servers={here}:{store}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--cert-dir={folder}/certs",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.152.183.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/accounts.key",
        f"--service-account-signing-key-file={folder}/accounts.key",
        "--disable-admission-plugins=ServiceAccount",
    ]
    with _running(etcd, folder / "etcd.log"), _running(apiserver, folder / "api.log") as process:
        server = Apiserver(folder, port, process)
        _wait(server)
        yield server


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Apiserver) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError, OSError):
            authority = server.folder / "certs/apiserver.crt"
            context = ssl.create_default_context(cafile=authority)
            headers = {"Authorization": f"Bearer token-of-{ADMIN}"}
            url = f"https://127.0.0.1:{server.port}/readyz"
            if httpx.get(url, verify=context, headers=headers).is_success:
                return
        if server.process.poll() is not None:
            break
        time.sleep(0.5)
    raise TimeoutError((server.folder / "api.log").read_text(errors="replace")[-2000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
