"""How sure a transcription is: agreement of samples and log probabilities, calibrated on pages with a text."""
