"""Unit tests of transcriptions: records, the prepared page, checks and verdicts."""
