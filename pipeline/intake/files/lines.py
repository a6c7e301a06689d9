"""The lines of a text file, plain or gzipped: bounded memory, and a position for a progress bar."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from pipeline.errors import InvalidInput
from pipeline.intake.files.kinds import START, foreign_kind
from pipeline.intake.schema import MOST_BYTES, too_large

_GZIP = b"\x1f\x8b"


class Line(NamedTuple):
    """One physical line. `size` is in bytes; `broken` says why the text can't be relied on."""

    number: int
    text: str
    size: int
    broken: str | None = None


class TextFile:
    """A file of lines that end in LF; a byte order mark is passed over.

    `encoding` writes ASCII as ASCII does; `start` is how the file begins. A line that is too long
    or not in that encoding is handed over as broken, a file that can't be read at all, or is of a
    kind that can't, raises InvalidInput.
    """

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        self._path = path
        self._encoding = encoding
        try:
            self._raw = path.open("rb")
        except OSError as error:
            raise InvalidInput(f"{path} can't be read: {error.strerror}") from None
        self._opened = self._state()
        self.total = self._opened[0]
        self._stream = self._unpacked()
        self.start = self._peeked()

    def _unpacked(self) -> IO[bytes]:
        is_gzip = self._raw.read(2) == _GZIP
        self._raw.seek(0)
        return cast(IO[bytes], gzip.GzipFile(fileobj=self._raw)) if is_gzip else self._raw

    def _peeked(self) -> bytes:
        """The first bytes, which will be read again; none if they can't be read."""
        try:
            start = self._stream.read(START)
        except (EOFError, OSError, zlib.error):
            start = b""
        self._raw.seek(0)
        self._stream = self._unpacked()
        return start

    @property
    def done(self) -> int:
        """Bytes read of `total`; for a gzipped file, both as it lies on disk."""
        return self._raw.tell()

    def close(self) -> None:
        self._raw.close()

    def rewind(self) -> None:
        """Begin anew; InvalidInput if the file is another by now."""
        self.expect_unchanged()
        self._raw.seek(0)
        self._stream = self._unpacked()

    def expect_unchanged(self) -> None:
        if self._state() != self._opened:
            raise InvalidInput(f"{self._path} changed while it was read; import it again")

    def _state(self) -> tuple[int, int]:
        found = os.fstat(self._raw.fileno())
        return found.st_size, found.st_mtime_ns

    def __iter__(self) -> Iterator[Line]:
        if kind := foreign_kind(self.start):
            raise InvalidInput(f"{self._path} is {kind}; what can be read is CSV, and JSON lines")
        number = 0
        try:
            while data := self._stream.readline(MOST_BYTES):
                number += 1
                yield self._line(number, data)
        except (EOFError, OSError, zlib.error) as error:
            raise InvalidInput(f"{self._path} breaks off after line {number}: {error}") from None

    def _line(self, number: int, data: bytes) -> Line:
        size = len(data)
        if size == MOST_BYTES and not data.endswith(b"\n"):
            size += self._skip_line()
        if number == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        if size > MOST_BYTES:
            start = data[:1000].decode(self._encoding, "replace")
            return Line(number, start, size, f"{too_large(size).expected} in a line")
        try:
            return Line(number, data.decode(self._encoding), size)
        except UnicodeDecodeError as error:
            text = data.decode(self._encoding, "replace")
            return Line(number, text, size, f"not {self._encoding} at byte {error.start + 1}")

    def _skip_line(self) -> int:
        """Pass over the rest of a line without keeping it; its size."""
        size = 0
        while data := self._stream.readline(1 << 16):
            size += len(data)
            if data.endswith(b"\n"):
                break
        return size


def digest_of(path: Path) -> str:
    """SHA-256 of the file's content, the same whether it is gzipped or not; InvalidInput if it
    can't be read to its end."""
    file = TextFile(path)
    try:
        digest = hashlib.sha256()
        while data := file._stream.read(1 << 20):
            digest.update(data)
        return digest.hexdigest()
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidInput(f"{path} can't be read to its end: {error}") from None
    finally:
        file.close()
