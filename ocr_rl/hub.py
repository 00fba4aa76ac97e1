"""A first look at the Hugging Face hub, so that nothing waits for the retries of its clients where there is no network.

Without an answer, huggingface_hub, transformers and datasets read their caches only, as with HF_HUB_OFFLINE=1.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from threading import Thread

LOOK_SECONDS = 2.0
"""How long the hub may take to answer: a name server that is out of reach can take much longer by itself."""


def check_hub_model(name: str) -> None:
    """Raises ValueError if the hub cannot be asked for a model, and there is no copy of it in the cache."""
    silence = hub_silence()
    if not silence:
        return
    from huggingface_hub import constants, try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(name, "config.json"), str):
        raise ValueError(
            f'no model "{name}": it is no folder, {silence}, and there is no copy in {constants.HF_HUB_CACHE}; '
            "give a folder, or connect and try again"
        )


def hub_silence() -> str:
    """Why the hub cannot be asked, as part of a sentence; empty if it answers. It is asked once in a process."""
    from huggingface_hub import constants

    if _is_silent():
        return f"the hub ({constants.ENDPOINT}) does not answer"
    return "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else ""


@cache
def _is_silent() -> bool:
    """Whether a hub that may be asked gives no answer; then no client in this process or its children asks it."""
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return False
    answered = []

    def ask() -> None:
        try:
            answered.append(get_session().head(constants.ENDPOINT, timeout=LOOK_SECONDS))
        except Exception:  # whatever its client raises, it cannot be asked
            return

    thread = Thread(target=ask, daemon=True)  # a timeout of the client does not bound the look-up of its name
    thread.start()
    thread.join(LOOK_SECONDS)
    if answered:
        return False
    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True
    if "datasets" in sys.modules:  # which copies the value when it is imported
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True
    return True
