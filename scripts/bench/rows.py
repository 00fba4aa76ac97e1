"""What a file of very many rows takes at the start of training: CPU seconds and peak memory.

    python scripts/bench/rows.py [ROWS]

The rows have a text of 1,500 characters, twenty to a document, and name one image. Each line is a process of its own:
the first makes the index, the others find it. "pages" loads them; "start" is `ocr-rl train` until its first batch has
been drawn: load, split and check the pages, load the embedded policy.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

TEXT = "The quick brown fox jumps over the lazy dog. " * 33


def write(folder: Path, count: int) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "white").save(folder / "page.png")
    with open(folder / "metadata.jsonl", "w") as file:
        for i in range(count):
            row = {"id": f"p{i}", "file_name": "page.png", "text": f"{i} {TEXT}", "doc": f"d{i // 20}"}
            file.write(json.dumps(row) + "\n")


def load(folder: Path) -> None:
    from ocr_rl.data.loading import load_pages

    load_pages(folder, columns={"id": "id"})


def start(folder: Path) -> None:
    from ocr_rl.config.loader import load_recipe
    from ocr_rl.data.loading import recipe_pages
    from ocr_rl.pipeline.job import make_scorer, make_trainer, prepare

    settings = [f"data.path={folder}", 'data.columns={id="id"}', "reward.weights={similarity=1.0}"]
    recipe = load_recipe("grpo", settings)
    job = prepare(recipe, recipe_pages(recipe, folder), say=lambda line: None)
    with make_scorer(job) as scorer:
        trainer = make_trainer(job, scorer)
        trainer.start(0)
        trainer.rollouts._pages.peek()  # type: ignore[attr-defined]


def main() -> None:
    if len(sys.argv) > 2:
        {"pages": load, "start": start}[sys.argv[1]](Path(sys.argv[2]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(f"{used.ru_utime + used.ru_stime:.1f} | {used.ru_maxrss >> 10}")
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), count)
        print(f"{count:,} rows\n\n| what | CPU s | peak MiB |\n|---|---|---|", flush=True)
        for name, what in (("pages, index made", "pages"), ("pages", "pages"), ("start", "start")):
            command = [sys.executable, __file__, what, folder]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            print(f"| {name} | {found.strip()} |", flush=True)


if __name__ == "__main__":
    main()
