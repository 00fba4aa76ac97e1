"""What all tests share."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ocr-rl", deadline=None)  # a busy machine is no failure
settings.load_profile("ocr-rl")


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def real_data():
    """Real pages, which are no part of the repository: `OCR_RL_REAL_DATA` names their folder."""
    folder = Path(os.environ.get("OCR_RL_REAL_DATA", SHARED / "data" / "real"))
    if not folder.is_dir():  # they are too large to ship, and not ours
        pytest.skip(f"no real data in {folder}; set OCR_RL_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], dict]:
    """Reads what olmOCR itself decided, by file name; no part of the repository: `OCR_RL_ORACLE` names the folder."""
    folder = Path(os.environ.get("OCR_RL_ORACLE", SHARED / "oracle" / "olmocr"))
    if not folder.is_dir():
        pytest.skip(f"no verdicts of olmOCR in {folder}; set OCR_RL_ORACLE to their folder")
    return lambda name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
