"""Names of the service's resources. What a server names becomes a path here, so they are checked letter by letter."""

from __future__ import annotations

import re

from .errors import OptionsError, ProtocolError

_RUN = re.compile(r"runs/[1-9][0-9]{0,18}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~:-]*")
_MAX_PATH = 400
_MAX_PARTS = 16


def run_name(text: str) -> str:
    """ "runs/17" for itself and for "17"."""
    for name in (text, f"runs/{text}"):
        if _RUN.fullmatch(name):
            return name
    raise OptionsError(f"{text!r} is no run: runs/17, or 17")


def is_plain_path(text: str) -> bool:
    """Whether it is a relative path that cannot lead out of its folder and says nothing to a shell or a terminal."""
    parts = text.split("/")
    return len(text) <= _MAX_PATH and len(parts) <= _MAX_PARTS and all(_PART.fullmatch(part) for part in parts)


def artifact_parts(run: str, artifact: str) -> list[str]:
    """The parts of the path of a run's file. ProtocolError if it is none of that run's."""
    prefix = f"{run}/artifacts/"
    path = artifact[len(prefix) :]
    if not artifact.startswith(prefix) or not is_plain_path(path):
        raise ProtocolError(f"the server named a file that is none of {run}'s: {artifact[:_MAX_PATH]!a}")
    return path.split("/")
