"""Transcriptions to rates, intervals and paired differences."""
