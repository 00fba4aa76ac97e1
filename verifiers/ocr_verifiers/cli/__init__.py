"""The commands of `ocr-verify`, one file each. A ValueError becomes one line on stderr and exit code 2."""
