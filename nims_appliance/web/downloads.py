"""CSV as it is read from the archive: streamed, however long it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from quart import Response

from ..export.text import csv_lines

__all__ = ["csv_download", "csv_lines"]


def csv_download(name: str, header: Sequence[str], pages: AsyncIterator[str]) -> Response:
    """Return an answer that streams a header and what `pages` yields, as a file of that name."""

    async def body() -> AsyncIterator[str]:
        yield csv_lines([header])
        async for page in pages:
            yield page

    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    response = Response(body(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{safe}"'
    response.timeout = None  # a long one on a slow link takes its time; a client that leaves ends it
    return response
