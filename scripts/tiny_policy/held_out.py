"""Write held-out scans as a collection that `ocr-rl eval --data` reads: lines and pages that no training batch had.

PYTHONPATH=scripts python -m tiny_policy.held_out runs/held_out --lines 200 --pages 40
ocr-rl eval FOLDER --data runs/held_out
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tiny_policy.scans import Scans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--seed", default="held-out", help="any but train0, train1 ...")
    parser.add_argument("--fonts", type=Path, nargs="*", default=[], help="further folders of faces")
    args = parser.parse_args()
    scans = Scans(*args.fonts)
    (args.out / "images").mkdir(parents=True, exist_ok=True)
    with open(args.out / "metadata.jsonl", "w", encoding="utf-8") as file:
        for level, draw, count in (("line", scans.line, args.lines), ("page", scans.page, args.pages)):
            for i in range(count):
                scan = draw(f"{args.seed}:{level}:{i}")
                name = f"images/{level}_{i:05d}.png"
                scan.image.save(args.out / name)
                row = {"file_name": name, "text": scan.text, "source": f"scanned-{level}", "level": level, "doc": name}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
