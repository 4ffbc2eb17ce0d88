"""Scenarios on their way to a server: files and folders of this host, or texts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Union

from panicroom.v1 import run_service_pb2

from .errors import OptionsError
from .names import is_plain_path

_MAX_FILE_BYTES = 256 << 10
_MAX_FILES = 2000
_MAX_WIRE_PATH = 180
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class ScenarioText:
    """A scenario file that is no file. `path` is what messages and reports call it."""

    path: str
    yaml: str


Scenarios = Iterable[Union[str, "os.PathLike[str]", ScenarioText]]


def _wire_path(file: Path, taken: set[str]) -> str:
    # As the server takes it: relative, of few characters. It is for the report's reader, so that two files may come to
    # the same; the second gets a number then.
    parts = []
    for part in Path(os.path.normpath(file)).parts:
        if part in ("/", ".", ".."):
            continue
        plain = re.sub(r"[^A-Za-z0-9_.+~:-]", "_", part)
        parts.append(plain if is_plain_path(plain) else "_" + plain)
    path = "/".join(parts)
    if len(path) > _MAX_WIRE_PATH:
        path = "_" + path[-_MAX_WIRE_PATH:]
    if not is_plain_path(path):  # Too deep, or cut at a bad place.
        path = path.replace("/", "_")
    unique, n = path, 2
    while unique in taken:
        unique, n = f"{n}_/{path}", n + 1
    taken.add(unique)
    return unique


def _read(file: Path) -> str:
    try:
        with open(file, "rb") as stream:
            content = stream.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise OptionsError(f"{file} is larger than {_MAX_FILE_BYTES >> 10} KiB: not a scenario")
        return content.decode()
    except UnicodeDecodeError as error:
        raise OptionsError(f"{file} is not UTF-8: not a scenario") from error
    except OSError as error:
        raise OptionsError(f"{file}: {error.strerror}") from error


def _files_below(folder: Path) -> list[Path]:
    # Links to folders are not followed, so there are no loops.
    files = [
        Path(where) / name
        for where, _, names in os.walk(folder)
        for name in names
        if name.endswith(_SUFFIXES) and (Path(where) / name).is_file()
    ]
    if not files:
        raise OptionsError(f"{folder}: no scenario (*.yaml or *.yml) below this folder")
    return sorted(files)


def scenario_files(scenarios: Scenarios) -> list[run_service_pb2.ScenarioFile]:
    """What StartRunRequest takes, in the order of `scenarios`. OptionsError for files that cannot be read."""
    files: list[run_service_pb2.ScenarioFile] = []
    taken: set[str] = set()
    seen: set[Path] = set()
    for scenario in [scenarios] if isinstance(scenarios, (str, os.PathLike)) else scenarios:
        if isinstance(scenario, ScenarioText):
            taken.add(scenario.path)
            files.append(run_service_pb2.ScenarioFile(path=scenario.path, yaml=scenario.yaml, named=True))
            continue
        path = Path(scenario)
        named = not path.is_dir()
        for file in [path] if named else _files_below(path):
            if file in seen:
                continue
            seen.add(file)
            files.append(run_service_pb2.ScenarioFile(path=_wire_path(file, taken), yaml=_read(file), named=named))
            if len(files) > _MAX_FILES:
                raise OptionsError(f"more than {_MAX_FILES} scenario files")
    return files
