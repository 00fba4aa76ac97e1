"""`python -m ocr_rl.cli`, the same as `ocr-rl`; what torchrun and `ocr-rl compare` start."""

import os

from ocr_rl.cli.main import main


def watch_parent() -> None:
    """A trial of a comparison ends with it."""
    from ocr_rl.comparison.children import PARENT, end_with_parent

    if PARENT in os.environ:
        end_with_parent()


watch_parent()
main()
