"""The command that serves lookups to programs."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes

from atlas.cli.answers import Answer
from atlas.cli.console import show
from atlas.core.errors import UserError, install_command
from atlas.service.settings import ServeSettings, token_of


def serve(
    run: Path = Path("runs"),
    data: Path | None = None,
    port: int = 8000,
    settings: OmitArgPrefixes[ServeSettings] = ServeSettings(),
) -> Answer:
    """Answer lookups over HTTP until Ctrl-C, and keep images that are added.

    An answer is the one of the command lookup. Added images are kept in the folder added of the run
    and found at once; update moves them into the atlas. While the service runs, no other command
    writes the index of the run.

    Args:
        run: Run folder with an index; its leaks, if it has any, give the thresholds.
        data: Atlas folder, if it has moved since the index was built.
        port: Port; 0 is any free one.
        settings: What is accepted.
    """
    try:
        from atlas.service.lookup_app import lookup_app
        from atlas.service.serving import address_of, listening, served
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, which the service needs; run "
            f"{install_command('serve')}"
        ) from error
    from atlas.workflows.serve.live_gallery import live_gallery

    token = token_of(settings)
    with (
        listening(port, settings.host) as listener,
        live_gallery(run, data) as live,
        lookup_app(live, run / "uploads", settings, token) as app,
        served(app, listener) as thread,
    ):
        gallery = live.current
        show(
            f"{len(gallery):,} images are known, {len(gallery.added.by_id):,} of which were "
            f"added; images are embedded by {gallery.opened.embedding_in_words}",
            f"lookups are answered at {address_of(listener)}"
            f"{' to requests with the token' if token else ' for this machine only'}",
            "press Ctrl-C to end the service",
        )
        thread.join()
    raise UserError("the server has ended by itself; start it again")
