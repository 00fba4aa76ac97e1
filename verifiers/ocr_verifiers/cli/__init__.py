"""The commands of `ocr-verify`, one file each. A ValueError that they raise is one line on stderr, exit code 2."""
