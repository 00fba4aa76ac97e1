"""The commands of `ocr-rl`, one file each. Heavy imports happen inside them."""
