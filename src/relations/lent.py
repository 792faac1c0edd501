"""What another application lends in Juju secrets, and how its data are checked.

For the interfaces whose databag holds the ids of secrets. Texts of errors hold no value.
"""

import re
from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError

from src.relations import BadDataError, NotYetError

# Newer controllers make other ids than Juju's first, of twenty small letters and digits.
_ID = re.compile(
    r"secret:(//[0-9A-Za-z-]{1,64}/)?[0-9A-Za-z][0-9A-Za-z_-]{0,63}"
    r"|secret://[0-9A-Za-z][0-9A-Za-z/_-]{0,127}"
)
_Model = TypeVar("_Model", bound=BaseModel)


def _id(text: str) -> str:
    if text and not _ID.fullmatch(text):
        raise ValueError("is not a secret's id")
    return text


SecretId = Annotated[str, AfterValidator(_id)]
"""The id of a secret, or nothing yet."""


def ids(theirs: Mapping[str, str], *names: str) -> tuple[str, ...]:
    """Return the ids of the secrets to read, those that are ids at all."""
    return tuple(theirs[name] for name in names if _ID.fullmatch(theirs.get(name, "")) is not None)


def content(lent: Mapping[str, Mapping[str, str]], name: str, key: str) -> Mapping[str, str]:
    """Return a secret's content by its id; `name` says where the id stood. NotYetError."""
    if not key:
        raise NotYetError(f"to hand over {name}")
    if key not in lent:
        raise NotYetError(f"to grant the secret {name}")
    return lent[key]


def read(model: type[_Model], values: Mapping[str, str]) -> _Model:
    """Check what a databag or a secret holds. Raises BadDataError."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = first.get("ctx", {}).get("error")
        where = ".".join(map(str, first["loc"]))
        raise BadDataError(f"{where} {reason or 'is missing in its secret'}") from None
