"""`python -m ocr_verifiers.cli`, the same as `ocr-verify`."""

from ocr_verifiers.cli.main import main

main()
