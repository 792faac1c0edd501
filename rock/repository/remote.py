"""What the server has, and one commit of it."""

import re
from dataclasses import dataclass

from repository.git import Git
from repository.places import RefusedError

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask the server for: `name` in its own words, and the commit behind it."""

    name: str
    commit: str


def find(git: Git, url: str, ref: str | None) -> Wanted:
    """Find out, without fetching, which commit a branch, tag, commit or HEAD is."""
    if ref is not None and _COMMIT.fullmatch(ref):
        return Wanted(ref, ref)
    names = ["HEAD"] if ref is None else _names(ref)
    listing = git.run(
        "ls-remote",
        "--",
        url,
        *names,
        *(f"{name}^{{}}" for name in names),
        protocols=_protocol(url),
    )
    return choose(listing.decode("utf-8", "replace"), names, ref)


def _names(ref: str) -> list[str]:
    """Tags go before branches, as in gitrevisions(7)."""
    return [ref] if ref.startswith("refs/") else [f"refs/tags/{ref}", f"refs/heads/{ref}"]


def choose(listing: str, names: list[str], ref: str | None) -> Wanted:
    """Choose from what `git ls-remote` printed the first name there is."""
    found = {
        name: commit
        for commit, _, name in (line.partition("\t") for line in listing.splitlines())
        if _COMMIT.fullmatch(commit)
    }
    for name in names:
        # An annotated tag is an object of its own; the line with ^{} is the commit it names.
        commit = found.get(f"{name}^{{}}") or found.get(name)
        if commit is not None:
            return Wanted(name, commit)
    if ref is None:
        raise RefusedError("the repository is empty, or has no default branch")
    raise RefusedError(f'unknown ref "{ref}" (no branch, tag or full commit has this name)')


def fetch(git: Git, url: str, wanted: Wanted) -> str:
    """Fetch one commit without its history; return the commit that came."""
    git.run("init", "--quiet", "--bare", "--template=", ".")
    git.run(
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-write-commit-graph",
        "--end-of-options",
        url,
        f"+{wanted.name}:refs/wanted",
        protocols=_protocol(url),
    )
    commit = git.run("rev-parse", "--verify", "--quiet", "refs/wanted^{commit}")
    return commit.decode("ascii").strip()


def _protocol(url: str) -> str:
    """Only the address's own protocol, so that https is never led to plain http."""
    return url.partition(":")[0]
