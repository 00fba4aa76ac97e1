"""A JSON Lines file that grows by one row per page, in page order, and can be continued after a kill.

OUT.jsonl            the rows; a last line that was cut off does not count
OUT.settings.json    the settings they were made with

A row is never written twice. A file that was made with other settings is not changed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

from ocr_rl.runs.atomic import addressed, write_atomically


class Named(Protocol):
    @property
    def id(self) -> str: ...


PageLike = TypeVar("PageLike", bound=Named)


class RowFile:
    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Opens the file, or starts it; only this process writes to it until `close`.

        Raises:
            ValueError: it was made with other or unknown settings, or another process writes to it.
        """
        self.path = path
        self._beside = path.with_suffix(".settings.json")
        self.rows = 0
        """Rows in the file, as far as it was read or written."""
        self.errors = 0
        """Those with an error."""
        self.failed: list[Named] = []
        """The pages of the rows with an error that were there already."""
        self._file = open(path, "ab")  # noqa: SIM115 - closed by close
        try:
            self._lock()
            self._check_settings(json.loads(json.dumps(settings)))
        except BaseException:
            self._file.close()
            raise

    def rest(self, pages: Iterable[PageLike]) -> Iterator[PageLike]:
        """The pages that have no row yet; call it once, before the first `append`.

        Raises:
            ValueError: a row is damaged, or belongs to another page than expected: the pages have changed.
        """
        waiting = iter(pages)
        end = 0
        with open(self.path, "rb") as file:
            for line in file:
                row = _row(line)
                if row is None and file.read(1):
                    raise ValueError(f"{self.path}:{self.rows + 1}: is damaged; give another --out")
                if row is None:
                    break
                page = next(waiting, None)
                if page is None or row.get("id") != page.id:
                    there = "there are no more pages" if page is None else f"the page is {page.id!r}"
                    raise ValueError(
                        f"{self.path}:{self.rows + 1}: is of {row.get('id')!r}, but {there}: the data has changed; "
                        "give another --out"
                    )
                end += len(line)
                self._count(row)
                if "error" in row:
                    self.failed.append(page)
        os.truncate(self.path, end)
        return waiting

    def append(self, row: Mapping[str, Any]) -> None:
        """Hand one line to the system. It is ASCII, since some readers split lines at all Unicode line ends."""
        with addressed(self.path):
            self._file.write(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")
            self._file.flush()
        self._count(row)

    def replace(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Put these rows in the place of those with the same ids, all at once; nothing is appended afterwards."""
        self._file.flush()
        self.errors = 0
        lines = []
        for line in self.path.read_text(encoding="ascii").splitlines():
            row = json.loads(line)
            row = rows.get(row["id"], row)
            self.errors += "error" in row
            lines.append(json.dumps(row, allow_nan=False) + "\n")
        write_atomically(self.path, "".join(lines))

    def close(self) -> None:
        with addressed(self.path):
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is not None and self.path.stat().st_size == 0:  # a mistake leaves no files
            self.path.unlink(missing_ok=True)
            self._beside.unlink(missing_ok=True)

    def _count(self, row: Mapping[str, Any]) -> None:
        self.rows += 1
        self.errors += "error" in row

    def _lock(self) -> None:
        """The lock is released when the process ends, even if it is killed."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{self.path} is being written by another process; wait for it or stop it") from None

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        """A file that has rows must have these settings; for an empty one they are written."""
        beside = self._beside
        empty = self._file.tell() == 0
        try:
            there = dict(json.loads(beside.read_text(encoding="utf-8")))
        except FileNotFoundError:
            there = None
        except (ValueError, TypeError):
            raise ValueError(f"{beside}: is damaged; give another --out") from None
        if there == settings:
            return
        if not empty:
            if there is None:
                raise ValueError(f"{self.path} exists, but no {beside.name} says how it was made; give another --out")
            name = next(name for name in [*settings, *there] if settings.get(name) != there.get(name))
            raise ValueError(
                f"{self.path} was made with {name} = {json.dumps(there.get(name))}, this run has "
                f"{json.dumps(settings.get(name))}; write the same, or give another --out"
            )
        write_atomically(beside, json.dumps(settings, indent=1) + "\n")


def _row(line: bytes) -> dict[str, Any] | None:
    """None if the line was cut off."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and line.endswith(b"\n") else None
