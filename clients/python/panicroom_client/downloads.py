"""Files that a server sends, written below one folder and nowhere else."""

from __future__ import annotations

import hashlib
import os
import secrets
from types import TracebackType
from typing import Optional, Type

from panicroom.v1 import artifact_service_pb2

from .errors import ChecksumError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folder:
    """The folder that files are fetched into. Links below it are not followed, whoever put them there."""

    def __init__(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)
        self._fd = os.open(path, _FOLDER)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        os.close(self._fd)

    def open_below(self, parts: list[str]) -> int:
        """A descriptor of the folder of these names below this one, which is made if it is not there."""
        fd = os.dup(self._fd)
        try:
            for part in parts:
                try:
                    os.mkdir(part, dir_fd=fd)
                except FileExistsError:
                    pass
                below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
        except BaseException:
            os.close(fd)
            raise
        return fd


class PartialFile:
    """A file on its way: has another name until it is whole, and is removed if it never is."""

    def __init__(self, folder: Folder, parts: list[str]) -> None:
        self._parts = parts
        self._folder = folder.open_below(parts[:-1])
        # No file of a run's begins with a dot.
        self._partial: Optional[str] = f".{secrets.token_hex(16)}.part"
        self._hash = hashlib.sha256()
        self.size = 0
        try:
            self._fd = os.open(
                self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=self._folder
            )
        except BaseException:
            os.close(self._folder)
            raise

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        os.close(self._fd)
        if self._partial is not None:
            os.unlink(self._partial, dir_fd=self._folder)
        os.close(self._folder)

    def append(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]

    def finish(self, digest: artifact_service_pb2.ArtifactDigest) -> None:
        """Gives the file its name. ChecksumError if it is not what the digest says."""
        assert self._partial is not None
        if digest.size_bytes != self.size or digest.sha256 != self._hash.digest():
            raise ChecksumError(f"{'/'.join(self._parts)} is not what the server has: its checksum is another")
        os.rename(self._partial, self._parts[-1], src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._partial = None
