"""Lines of text, found on the image of a page."""
