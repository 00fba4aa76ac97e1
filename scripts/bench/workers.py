"""Pages per second of `ocr-rl transcribe --workers N` with an engine that takes a fixed time a page.

`python scripts/bench/workers.py [PAGES [SECONDS]]` writes a table: workers, pages/s; and that of reading images alone.
"""

from __future__ import annotations

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
        print("| workers | pages/s |\n|---|---|")
        began = time.monotonic()
        for page in pages_of(scans):
            assert isinstance(page, Page)
            _ = page.image
        print(f"| reading images alone | {count / (time.monotonic() - began):.0f} |", flush=True)
        for workers in (1, 2):
            began = time.monotonic()
            write_transcriptions(Path(folder, f"{workers}.jsonl"), scans, FixedTime(workers=workers))
            print(f"| {workers} | {count / (time.monotonic() - began):.0f} |", flush=True)
        assert Path(folder, "1.jsonl").read_bytes() == Path(folder, "2.jsonl").read_bytes()


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2] / "tests"))
    main()
