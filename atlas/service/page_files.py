"""The pages of the servers: files of this package, which are read once."""

from pathlib import Path

from fastapi import FastAPI, HTTPException, Response

TEMPLATES = Path(__file__).with_name("templates")
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript"}


def add_page(app: FastAPI, page: str) -> None:
    """Add a page and its files; no other file can be asked for.

    Args:
        app: The application.
        page: The name of the page, one of the templates.
    """
    files = {path.name: path.read_bytes() for path in TEMPLATES.iterdir()}

    @app.get("/", include_in_schema=False)
    def first_page() -> Response:
        headers = {"Cache-Control": "no-store"}
        return Response(files[page], media_type="text/html", headers=headers)

    @app.get("/files/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        media_type = MEDIA_TYPES.get(Path(name).suffix)
        if name not in files or media_type is None:
            raise HTTPException(404)
        return Response(files[name], media_type=media_type, headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return Response(status_code=204)
