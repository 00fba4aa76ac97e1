"""`python -m ocr_rl.cli`, the same as `ocr-rl`; what torchrun starts."""

from ocr_rl.cli.main import main

main()
