"""Measures time and memory of `ocr-rl eval --predictions`, and compares its CER and WER with jiwer's.

    python scripts/bench/evaluation.py --pages 1000 --words 3000

Pages of random words; one character in twenty of each transcription is wrong. Times are CPU seconds of the command.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import jiwer


def write_pages(folder: Path, pages: int, words: int) -> tuple[list[str], list[str]]:
    """Writes metadata.jsonl and predictions.jsonl; returns the references and the predicted texts."""
    numbers = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    references, texts = [], []
    for _ in range(pages):
        reference = " ".join("".join(numbers.choices(letters, k=numbers.randint(2, 9))) for _ in range(words))
        references.append(reference)
        texts.append("".join(numbers.choice(letters) if numbers.random() < 0.05 else c for c in reference))
    for name, rows in (("metadata", references), ("predictions", texts)):
        lines = (json.dumps({"file_name": f"{i:06d}.png", "text": text}) + "\n" for i, text in enumerate(rows))
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    for i in range(pages):  # eval opens no image
        (folder / f"{i:06d}.png").touch()
    return references, texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--words", type=int, default=3000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        references, texts = write_pages(folder, options.pages, options.words)
        command = [sys.executable, "-m", "ocr_rl.cli", "eval", "--predictions", str(folder / "predictions.jsonl")]
        command += ["--data", str(folder), "--json", str(folder / "out.json")]
        subprocess.run(command, check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    print(f"{used.ru_utime + used.ru_stime:.1f} CPU s, {used.ru_maxrss / 2**10:.0f} MiB at most")
    for name, theirs in (("cer", jiwer.cer(references, texts)), ("wer", jiwer.wer(references, texts))):
        print(f"{name}: {found[name]:.12f}, jiwer {theirs:.12f}, difference {abs(found[name] - theirs):.1e}")


if __name__ == "__main__":
    main()
