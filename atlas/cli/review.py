"""The command that lets people look at claims and judge them."""

import getpass
import webbrowser
from contextlib import suppress
from pathlib import Path

from atlas.cli.answers import Answer
from atlas.cli.console import show
from atlas.core.errors import UserError, install_command


def review(
    run: Path = Path("runs"),
    data: Path = Path("data"),
    port: int = 8765,
    reviewer: str = "",
    reviewer_error: float = 0.02,
    browser: bool = True,
) -> Answer:
    """Open a page on which people look at claims and judge them, until Ctrl-C.

    The page shows the claims that the scores alone make, likely copies, and the suspicious labels
    that audit-labels found. Verdicts are kept in verdicts.db in the run folder, where find-leaks
    and make-submission read them. Corrected labels are also written to corrections.csv in the atlas
    folder. The page is served to this machine only.

    Args:
        run: Run folder with an index and leaks; a submission and an audit are shown if they exist.
        data: Atlas folder.
        port: Port of the page on this machine; 0 is any free one.
        reviewer: Name that the page proposes for your verdicts; by default your login name.
        reviewer_error: Share of wrong claims that a reviewer may accept by mistake, which the
            certificate of a random sample allows for.
        browser: Open the page in the browser.
    """
    if not 0 <= reviewer_error < 1:
        raise UserError(f"--reviewer-error must be at least 0 and below 1 (got {reviewer_error:g})")
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
        judged = Review(queue, reviewer_error=reviewer_error)
        judged.write_corrections()  # a review that was killed may not have done so
        app = review_app(judged, ReviewPictures(queue), reviewer=reviewer or _login_name())
        with served(app, listener) as thread:
            show(
                f"{_count(queue.pairs, 'pair')} and the labels of "
                f"{_count(queue.labels, 'image')} can be reviewed; verdicts are kept in "
                f"{judged.path}",
                f"open {address_of(listener)}",
                "press Ctrl-C to end the review",
            )
            if browser:
                webbrowser.open(address_of(listener))
            thread.join()
    return Answer(summary="The review ended.", wrote=[judged.path])


def _count(things: tuple[object, ...], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def _login_name() -> str:
    with suppress(OSError, KeyError):  # a user without a name, as in some containers
        return getpass.getuser()
    return "reviewer"
