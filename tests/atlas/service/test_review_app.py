import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from atlas.dataset.verdicts import new_token, read_verdicts
from atlas.service.review_app import review_app, run_key
from atlas.workflows.review.pictures import ReviewPictures
from atlas.workflows.review.queue import Queue, read_queue
from atlas.workflows.review.verdicts import Review
from atlas.workflows.run_folder import RunFolder
from tests.atlas.workflows.review.made_run import write_run

ADDRESS = "http://127.0.0.1:8765"
OWN = {"Origin": ADDRESS}


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url=ADDRESS)


def row(client: TestClient, image_id: str, **said: Any) -> dict[str, Any]:
    items = client.get("/api/queue").json()["items"]
    item = next(one for one in items if one["query_id"] == image_id)
    sent = {"token": new_token(), "name": item["name"], "version": item["version"]}
    return {**sent, "reviewer": "Ann", **said}


def post(client: TestClient, *rows: dict[str, Any], run: str = "", **headers: str) -> Any:
    run = run or client.get("/api/queue").json()["run"]
    return client.post("/api/verdicts", json={"run": run, "rows": rows}, headers=OWN | headers)


def test_the_queue_has_what_the_page_shows(client: TestClient) -> None:
    queue = client.get("/api/queue").json()
    assert (queue["reviewer"], queue["reviewer_error"]) == ("Ann", 0.02)
    assert queue["labels"] == ["zero", "one", "<b>two</b>"]
    assert [one["name"] for one in queue["channels"]] == ["red", "green"]
    kinds = [one["kind"] for one in queue["items"]]
    assert kinds == ["claim"] * 9 + ["likely"] + ["labels"] * 2
    names = {one["name"]: one["query_id"] for one in queue["items"]}
    sampled = {names[name] for name in queue["samples"]["sibling"]}
    assert sampled == {"t06", "t07", "t08"}
    doubted = queue["items"][-2]
    assert (doubted["before"], doubted["labels"], doubted["confidence"]) == ([0], [1, 2], 0.9)


def test_an_answer_comes_after_the_verdict_is_in_the_file(
    client: TestClient, review: Review
) -> None:
    sent = row(client, "t00", verdict="same")
    answer = post(client, sent)
    assert answer.json() == {"saved": [sent["token"]], "refused": {}}
    assert [one.token for one in read_verdicts(review.path).verdicts] == [sent["token"]]
    news = client.get("/api/verdicts").json()
    assert [(one["name"], one["verdict"]) for one in news["rows"]] == [(sent["name"], "same")]
    assert client.get("/api/verdicts", params=news["place"]).json()["rows"] == []


def test_the_certificate_is_that_of_the_verdicts(client: TestClient, review: Review) -> None:
    for query, _ in review.samples["same_image"]:
        post(client, row(client, query, verdict="same"))
    found = client.get("/api/certificates").json()
    assert found["same_image"]["right"] == found["same_image"]["looked_at"] == 5
    assert found["same_image"]["words"] == review.certificates()["same_image"].in_words()
    assert found["sibling"]["looked_at"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},  # another server on this machine
        {"Origin": "https://127.0.0.1:8765"},
        {"Origin": "null"},
        {},
    ],
    ids=str,
)
def test_pages_of_other_servers_cannot_change_anything(
    client: TestClient, review: Review, headers: dict[str, str]
) -> None:
    sent = {"run": run_key(review), "rows": [row(client, "t00", verdict="same")]}
    assert client.post("/api/verdicts", json=sent, headers=headers).status_code == 403
    assert not review.path.exists()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example",
                                  "localhost:8765.evil.example", "", "127.0.0.1:x"])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api/queue", "/pictures/tile?id=t00", "/files/review.js"])
def test_no_other_name_reaches_the_server(client: TestClient, host: str, path: str) -> None:
    assert client.get(path, headers={"Host": host}).status_code == 421


def test_a_rebound_name_cannot_send_verdicts_either(client: TestClient, review: Review) -> None:
    evil = {"Host": "evil.example:8765", "Origin": "http://evil.example:8765"}
    answer = post(client, row(client, "t00", verdict="same"), **evil)
    assert answer.status_code == 421
    assert not review.path.exists()


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:9000", "[::1]:80", "localhost"])
def test_a_tunnel_may_lead_from_any_port_of_this_machine(client: TestClient, host: str) -> None:
    answer = post(client, row(client, "t00", verdict="same"), Host=host, Origin=f"http://{host}")
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/", "/files/review.js", "/api/queue", "/pictures/tile?id=t00",
                                  "/nothing"])  # fmt: skip
def test_every_answer_forbids_frames_sniffing_and_other_sources(
    client: TestClient, path: str
) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_page_loads_only_files_of_the_server_and_runs_no_inline_script(
    client: TestClient,
) -> None:
    page = client.get("/").text
    assert re.findall(r"<script(?![^>]* src=\"/files/)", page) == []
    assert re.findall(r"\son[a-z]+=|style=", page) == []
    sources = re.findall(r"(?:src|href)=\"([^#][^\"]*)\"", page)
    assert sources
    for source in sources:
        assert client.get(source).status_code == 200


@pytest.mark.parametrize(
    "path", ["/files/..%2freview_app.py", "/files/review.html", "/docs", "/openapi.json", "/redoc"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "short"},
        {"token": "Z" * 32},
        {"verdict": "perhaps"},
        {"reviewer": ""},
        {"reviewer": "a\nb"},
        {"reviewer": "a" * 81},
        {"name": "../etc"},
        {"query_id": "t01"},
        {"labels": "all"},
    ],
    ids=str,
)
def test_rows_that_make_no_sense_are_refused(
    client: TestClient, review: Review, changes: dict[str, Any]
) -> None:
    answer = post(client, row(client, "t00", verdict="same") | changes)
    assert answer.status_code == 422
    assert not review.path.exists()


def test_verdicts_for_another_run_are_refused(client: TestClient, review: Review) -> None:
    answer = post(client, row(client, "t00", verdict="same"), run="another")
    assert answer.status_code == 409
    assert "another run" in answer.json()["detail"]
    assert not review.path.exists()


def test_a_file_that_cannot_be_written_is_reported_as_not_saved(
    client: TestClient, review: Review
) -> None:
    review.path.write_bytes(b"no database" * 100)
    answer = post(client, row(client, "t00", verdict="same"))
    assert answer.status_code == 503
    assert "verdicts.db" in answer.json()["detail"]


def test_pictures_come_in_the_formats_that_they_claim(client: TestClient) -> None:
    tile = client.get("/pictures/tile", params={"id": "t00"})
    assert (tile.headers["Content-Type"], tile.content[8:12]) == ("image/webp", b"WEBP")
    plane = client.get("/pictures/channel", params={"id": "t00", "channel": 1})
    assert plane.headers["Content-Type"] == "image/png"
    pixels = cv2.imdecode(np.frombuffer(plane.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == (128, 128)
    name = client.get("/api/queue").json()["items"][0]["name"]
    found = client.get("/pictures/registered", params={"name": name}).json()
    assert found["aligned"]
    assert len(found["laid_23"]) == 6


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pictures/tile?id=t10", 404),
        ("/pictures/tile?id=../t00", 404),
        ("/pictures/channel?id=t00&channel=2", 404),
        ("/pictures/channel?id=t00&channel=-1", 422),
        ("/pictures/registered?name=nothing", 404),
    ],
)
def test_other_pictures_do_not_exist(client: TestClient, path: str, status: int) -> None:
    assert client.get(path).status_code == status


def test_a_picture_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    data, run = write_run(tmp_path)
    queue = read_queue(run, data)
    (data / "test" / "t00_red.png").write_bytes(b"nothing")
    app = review_app(Review(queue), ReviewPictures(queue), reviewer="Ann")
    client = TestClient(app, base_url=ADDRESS)
    answer = client.get("/pictures/tile", params={"id": "t00"})
    assert answer.status_code == 503
    assert "t00_red.png" in answer.json()["detail"]


def test_two_runs_have_two_keys(made_queue: Queue, tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / name) for name in ("one", "other", "one")]
    one, other, again = (run_key(Review(replace(made_queue, run=run))) for run in runs)
    assert one == again != other
