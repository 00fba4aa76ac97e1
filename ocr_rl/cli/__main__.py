"""`python -m ocr_rl.cli`, the same as `ocr-rl`; what torchrun starts."""

import os

from ocr_rl.cli.main import main

if "OCR_RL_PARENT" in os.environ:  # set by `ocr-rl compare`
    from ocr_rl.comparison.children import end_with_parent

    end_with_parent()
main()
