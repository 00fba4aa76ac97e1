"""What models write that is not markdown, converted to markdown: one file per output format."""
