"""Unit tests of transcriptions: records, prepared pages, checks and verdicts."""
