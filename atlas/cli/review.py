"""The command that lets people look at claims and judge them."""

import getpass
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.cli.answers import Answer
from atlas.cli.console import show
from atlas.core.errors import UserError, install_command
from atlas.core.wording import counted

if TYPE_CHECKING:
    from atlas.workflows.review.queue import Queue


def review(
    run: Path = Path("runs"),
    data: Path = Path("data"),
    port: int = 8765,
    reviewer: str = "",
    browser: bool = True,
) -> Answer:
    """Open a page on which people look at claims and judge them, until Ctrl-C.

    The page shows the claims that the scores alone make, likely copies, the suspicious labels that
    audit-labels found, and the groups of copies that remove-duplicates found. Verdicts are kept in
    verdicts.db in the run folder, where find-leaks, make-submission and remove-duplicates read
    them. Corrected labels are also written to corrections.csv in the atlas
    folder. The page is served to this machine only.

    Args:
        run: Run folder with an index and leaks, or with duplicates; a submission and an audit are
            shown if they exist.
        data: Atlas folder.
        port: Port of the page on this machine; 0 is any free one.
        reviewer: Name that the page proposes for your verdicts; by default your login name.
        browser: Open the page in the browser.
    """
    try:
        from atlas.service.review_app import review_app
        from atlas.service.serving import address_of, listening, served
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, which the page needs; run {install_command('review')}"
        ) from error
    from atlas.workflows.review.pictures import ReviewPictures
    from atlas.workflows.review.queue import read_queue
    from atlas.workflows.review.verdicts import Review

    with listening(port) as listener:
        queue = read_queue(run, data)
        judged = Review(queue)
        judged.write_corrections()  # a review that was killed may not have done so
        app = review_app(judged, ReviewPictures(queue), reviewer=reviewer or _login_name())
        with served(app, listener) as thread:
            show(
                f"{_said(queue)} can be reviewed; verdicts are kept in {judged.path}",
                f"open {address_of(listener)}",
                "press Ctrl-C to end the review",
            )
            if browser:
                webbrowser.open(address_of(listener))
            thread.join()
    return Answer(summary="The review ended.", wrote=[judged.path])


def _said(queue: "Queue") -> str:
    said = [
        counted(len(queue.pairs), "pair"),
        f"the labels of {counted(len(queue.labels), 'image')}",
    ]
    if queue.groups:
        said.append(counted(len(queue.groups), "group"))
    *most, last = said
    return f"{', '.join(most)} and {last}"


def _login_name() -> str:
    with suppress(OSError, KeyError):  # a user without a name, as in some containers
        return getpass.getuser()
    return "reviewer"
