"""CSV as it is read from the archive: streamed, however long it is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from quart import Response


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV: nothing for None, true and false as 1 and 0.

    Text that a spreadsheet would take for a formula is given a leading quote.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


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
