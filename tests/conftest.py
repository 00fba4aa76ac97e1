"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ocr-rl", deadline=None)  # a busy machine is no failure
settings.load_profile("ocr-rl")


@pytest.fixture(scope="session")
def real_data():
    """Real pages, which are no part of the repository: `OCR_RL_REAL_DATA` names their folder."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"
    folder = Path(os.environ.get("OCR_RL_REAL_DATA", beside))
    if not folder.is_dir():  # they are too large to ship, and not ours
        # the real pages do not belong to the repository
        pytest.skip(f"no real data in {folder}; set OCR_RL_REAL_DATA to its folder")
    return folder
