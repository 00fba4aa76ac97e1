"""Checks: a unit test and a page in, a Verdict out. One file per kind; `unit_tests.olmocr` has olmOCR's own."""
