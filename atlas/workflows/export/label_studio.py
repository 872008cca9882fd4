"""Tasks of Label Studio: two images side by side, and the question what they show.

Claims are predictions, and verdicts are annotations. `verdicts_in` reads the annotations that Label
Studio exports.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from atlas.core.escaping import quoted
from atlas.core.files import content_hash, write_bytes, write_json
from atlas.dataset.artifacts import SAME_IMAGE
from atlas.dataset.labels import format_labels
from atlas.dataset.verdicts import (
    ALIKE,
    DIFFERENT,
    SAME,
    UNSURE,
    WITHDRAWN,
    Pair,
    Verdict,
    sorted_pair,
)
from atlas.workflows.export.content import Claim, Content, ExportedImage
from atlas.workflows.export.pictures import save_pictures
from atlas.workflows.export.verdict_table import GivenRow

TASKS_FILE, CONFIG_FILE = "tasks.json", "labeling_config.xml"
IMAGES_FOLDER = "images"
CONTROL, SHOWN = "verdict", "query"  # the names of the tags of choices, and of the first image
# How Label Studio names files below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
LOCAL_FILES = "/data/local-files/?d="
CHOICES = (SAME, ALIKE, DIFFERENT, UNSURE)
IDENTITY = ("query_id", "match_id", "query_key", "match_key")  # of the pair of a task


def save_label_studio(folder: Path, content: Content, *, name: str) -> None:
    """Write tasks.json, labeling_config.xml and the folder images.

    Args:
        folder: The folder to write to.
        content: The claims and verdicts. Images that take part in neither are left out.
        name: The name that the folder will have, by which Label Studio finds the images.
    """
    content = content.of_claims
    rows = [one.row for one in content.images]
    paths = save_pictures(folder, rows, content.spec, below=lambda row: IMAGES_FOLDER)
    urls = {i: f"{LOCAL_FILES}{quote(f'{name}/{path}')}" for i, path in paths.items()}
    write_json(folder / TASKS_FILE, list(_tasks(content, urls)))
    write_bytes(folder / CONFIG_FILE, labeling_config().encode())


def labeling_config() -> str:
    """Return the labeling interface of the tasks."""
    choices = "\n".join(f'    <Choice value="{verdict}"/>' for verdict in CHOICES)
    return f"""<View>
  <Text name="claim" value="$claim"/>
  <View style="display: flex; gap: 1em">
    <View style="flex: 50%"><Image name="{SHOWN}" value="$query" zoom="true"/></View>
    <View style="flex: 50%"><Image name="match" value="$match" zoom="true"/></View>
  </View>
  <Choices name="{CONTROL}" toName="{SHOWN}" choice="single" showInline="true" required="true">
{choices}
  </Choices>
</View>
"""


def verdicts_in(file: Path, encoded: bytes, problems: list[str]) -> Iterator[GivenRow]:
    """Yield the verdicts in what Label Studio exports as JSON, which are its annotations.

    Annotations that were skipped, and those without a choice, are left out.

    Args:
        file: The file, for messages.
        encoded: Its content.
        problems: The list to which problems are added.
    """
    try:
        tasks = json.loads(encoded)
        if not isinstance(tasks, list):
            raise TypeError("there is no list of tasks")
        for task in tasks:
            for annotation in task["annotations"]:
                yield from _given(f"{file.name}, task {task.get('id', '?')}", task, annotation)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problems.append(
            f"{file.name} is not what Label Studio exports as JSON for these tasks "
            f"({type(error).__name__}: {quoted(str(error))}); choose the format JSON there"
        )


def _tasks(content: Content, urls: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    latest = _latest(content)
    for one, match_id, claim in _pairs(content):
        pair = {"query_id": one.row.id, "match_id": match_id}
        keys = {"query_key": content.keys[one.row.id], "match_key": content.keys[match_id]}
        between = sorted_pair(*keys.values())
        said = latest.get(between, {})
        yield {
            "data": {
                **pair, **keys,
                "query": urls[one.row.id], "match": urls[match_id],
                "claim": _in_words(one.row.id, match_id, claim),
                **(_of_claim(claim, content) if claim else {}),
            },
            "predictions": [_prediction(claim, *pair.values())] if claim else [],
            "annotations": [_annotation(each) for each in said.values()],
        }  # fmt: skip


def _pairs(content: Content) -> Iterator[tuple[ExportedImage, str, Claim | None]]:
    """Yield the pairs of claims, then those of verdicts about which nothing is claimed."""
    claimed: set[Pair] = set()
    for one in content.images:
        if one.claim:
            claimed.add(sorted_pair(one.row.id, one.claim.match_id))
            yield one, one.claim.match_id, one.claim
    for one in reversed(content.images):  # test images, which are queries, are the last
        for other in one.verdicts:
            pair = sorted_pair(one.row.id, other)
            if pair not in claimed:
                claimed.add(pair)
                yield one, other, None


def _latest(content: Content) -> dict[Pair, dict[str, Verdict]]:
    """Return the latest verdict of each reviewer who stands by it, by the keys of the pair."""
    found: dict[Pair, dict[str, Verdict]] = {}
    for (pair, reviewer), one in content.said.latest_verdicts.items():
        if one.verdict != WITHDRAWN:
            found.setdefault(pair, {})[reviewer] = one
    return found


def _of_claim(claim: Claim, content: Content) -> dict[str, Any]:
    return {
        "relation": claim.relation,
        "confidence": claim.confidence,
        "registration_score": claim.registration_score,
        "labels": format_labels(claim.labels),
        "label_names": content.names_of(claim.labels),
        "decision": claim.decision,
        "reason": claim.reason,
    }


def _in_words(query_id: str, match_id: str, claim: Claim | None) -> str:
    return claim.reason if claim else f"Nothing is claimed about {query_id} and {match_id}."


def _prediction(claim: Claim, query_id: str, match_id: str) -> dict[str, Any]:
    verdict = SAME if claim.relation == SAME_IMAGE else ALIKE
    return {
        "model_version": "atlas",
        "score": claim.confidence,
        "result": [_choice(content_hash("prediction", query_id, match_id), verdict)],
    }


def _annotation(one: Verdict) -> dict[str, Any]:
    return {"result": [_choice(one.token, one.verdict)], "was_cancelled": False}


def _choice(region: str, verdict: str) -> dict[str, Any]:
    return {
        "id": region,
        "from_name": CONTROL,
        "to_name": SHOWN,
        "type": "choices",
        "value": {"choices": [verdict]},
    }


def _given(
    where: str, task: Mapping[str, Any], annotation: Mapping[str, Any]
) -> Iterator[GivenRow]:
    if annotation.get("was_cancelled"):
        return
    by = annotation.get("completed_by")
    who = by.get("email", "") if isinstance(by, dict) else f"user {by}" if by else ""
    for region in annotation["result"]:
        if region["from_name"] != CONTROL:
            continue
        for verdict in region["value"]["choices"]:
            yield GivenRow(
                where=where,
                known_as=str(region.get("id", "")),
                cells={
                    **{name: str(task["data"].get(name, "")) for name in IDENTITY},
                    "verdict": verdict,
                    "reviewer": who,
                    "time": str(annotation.get("updated_at") or ""),
                },
            )
