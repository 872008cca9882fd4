"""Random requests to `atlas serve` that follow its OpenAPI document, made by schemathesis.

    pip install schemathesis
    python -m benchmarks.fuzzed_api --run RUN

No answer may be an error of the server, except 503 with Retry-After. RUN should be a copy, because
images may be added. schemathesis is not a dependency of the project.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import tyro

from benchmarks.serving import served_run


def main(run: Path, calls: int = 5000, seed: int = 0) -> None:
    """Make the calls, and print how they were answered."""
    import schemathesis  # type: ignore[import-not-found, unused-ignore]

    answers: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []
    with served_run(run) as server:
        schema = schemathesis.openapi.from_url(f"{server.address}openapi.json")

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=calls, deadline=None, database=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(case=schema.as_strategy())
        def call(case: Any) -> None:
            answer = case.call(timeout=60)
            status = int(answer.status_code)
            answers[f"{case.method} {case.path}", status] += 1
            if status >= 500 and not (status == 503 and "retry-after" in answer.headers):
                wrong.append(f"{case.as_curl_command()}: {status}")

        call()
        assert server.process.poll() is None, "the server ended"
    print(f"{answers.total():,} calls, {len(wrong)} of them with an error of the server")
    for (route, status), count in sorted(answers.items()):
        print(f"  {route}: {status} {count:,} times")
    print(*wrong[:20], sep="\n")
    assert not wrong


if __name__ == "__main__":
    tyro.cli(main)
