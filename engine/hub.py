"""Pretrained weights from the Hugging Face hub: from its cache, or downloaded where it answers.

The hub's own client tries some 45 s before it gives up without a network; one request with a
short limit tells the same in a moment.
"""

import os
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

import timm

ANSWER_LIMIT_S = 4.0
FILE_NAME = "model.safetensors"


def pretrained_file(trunk: str) -> Path | None:
    """The file of a timm network's weights; None where it cannot be had now."""
    # Imported here: it takes a third of a second and offline runs with weights do not need it.
    from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache

    config = timm.models.get_pretrained_cfg(trunk, allow_unregistered=True)
    if config is None or not config.hf_hub_id:
        return None
    cached = try_to_load_from_cache(config.hf_hub_id, FILE_NAME)
    if isinstance(cached, str):
        return Path(cached)
    if os.environ.get("HF_HUB_OFFLINE") == "1" or not _answers(
        hf_hub_url(config.hf_hub_id, FILE_NAME)
    ):
        return None
    try:
        return Path(hf_hub_download(config.hf_hub_id, FILE_NAME))
    except OSError:  # the hub's errors are kinds of it
        return None


@cache
def _answers(url: str) -> bool:
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, TimeoutError, OSError, ValueError):
        return False
