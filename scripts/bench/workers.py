"""Pages per second of `ocr-rl transcribe --workers N` with an engine that takes a fixed time a page.

`python scripts/bench/workers.py [PAGES [SECONDS]]` writes a table: workers, pages/s and CPU milliseconds a
page, of all processes; and those of reading images alone.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocr_rl.evaluation.transcribe import TranscribeOptions, pages_of, write_transcriptions
from ocr_rl.rollouts.parallel import ParallelEngine
from ocr_rl.types import Page

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 0.01


@dataclass(frozen=True, kw_only=True)
class FixedTime(TranscribeOptions):
    def load(self, say: Any) -> Any:
        from helpers.page_engines import LoadSizes

        load = LoadSizes(SECONDS)
        return load(say) if self.workers == 1 else ParallelEngine(load, self.workers, say)


def cpu_seconds() -> float:
    """Of this process and of those that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def report(name: str, count: int, began: float, spent: float) -> None:
    rate, cost = count / (time.monotonic() - began), 1000 * (cpu_seconds() - spent) / count
    print(f"| {name} | {rate:.0f} | {cost:.1f} |", flush=True)


def main() -> None:
    from PIL import Image

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder, "scans")
        scans.mkdir()
        image = Image.effect_noise((400, 300), 60)
        image.save(scans / "0.png")
        for i in range(1, count):
            (scans / f"{i:05d}.png").hardlink_to(scans / "0.png")
        print("| workers | pages/s | CPU ms a page |\n|---|---|---|")
        began = time.monotonic(), cpu_seconds()
        for page in pages_of(scans):
            assert isinstance(page, Page)
            _ = page.image
        report("reading images alone", count, *began)
        for workers in (1, 2):
            began = time.monotonic(), cpu_seconds()
            write_transcriptions(Path(folder, f"{workers}.jsonl"), scans, FixedTime(workers=workers))
            report(str(workers), count, *began)
        assert Path(folder, "1.jsonl").read_bytes() == Path(folder, "2.jsonl").read_bytes()


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2] / "tests"))
    main()
