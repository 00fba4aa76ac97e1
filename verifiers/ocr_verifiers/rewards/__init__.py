"""Transcriptions to rewards: rubrics and their parts."""
