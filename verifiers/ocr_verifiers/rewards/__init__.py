"""Rewards for transcriptions: rubrics and their parts."""
