"""Files of tables: written beside their name and given it when they are whole, or to standard output as they come."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import NimsError
from .optional import need
from .tables import column_kind
from .text import Rows, placed_positions

STANDARD_OUTPUT = "-"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the path of a temporary file that takes the name `path` in the end, unless what is done with it raises.

    Raises:
      NimsError: it cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            # mkstemp lets nobody else read; an export is a file like any other.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise NimsError(f"cannot write {path}: {error.strerror or error}") from error


def write_text(pieces: Iterable[str], output: str) -> None:
    """Write text to a file, as a whole or not at all, or to standard output ("-").

    Raises:
      NimsError: it cannot be written.
    """
    if output == STANDARD_OUTPUT:
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.flush()
        return
    with whole_file(Path(output)) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for piece in pieces:
            file.write(piece)


def write_parquet(pages: Rows, columns: Sequence[str], output: str, data: Path, *, positions: bool = False) -> None:
    """Write rows as an Apache Parquet file; a page is a row group. Positions are a list of structures with PLACED_KEYS.

    Raises:
      NimsError: pyarrow is not there, or the file cannot be written.
    """
    pyarrow = need("pyarrow", "Parquet", data)
    parquet = need("pyarrow.parquet", "Parquet", data)
    if output == STANDARD_OUTPUT:
        raise NimsError("Parquet cannot be written to standard output: give a file with -o")
    schema = _parquet_schema(pyarrow, columns, positions)
    with whole_file(Path(output)) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for page in pages:
            rows = [{name: _parquet_value(name, row) for name in schema.names} for row in page]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _parquet_schema(pyarrow: Any, columns: Sequence[str], positions: bool) -> Any:
    kinds = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "boolean": pyarrow.bool_(),
        "number": pyarrow.float64(),
    }
    fields = [(name, kinds[column_kind(name)]) for name in columns]
    if positions:
        place = [("time_s", pyarrow.float64()), *((f"{axis}_m", pyarrow.float32()) for axis in "xyz")]
        place += [("latitude_deg", pyarrow.float64()), ("longitude_deg", pyarrow.float64())]
        fields += [("zones", pyarrow.string()), ("positions", pyarrow.list_(pyarrow.struct(place)))]
    return pyarrow.schema(fields)


def _parquet_value(name: str, row: dict[str, Any]) -> Any:
    if name == "zones":
        return msgspec.json.encode(row[name]).decode()
    return placed_positions(row) if name == "positions" else row[name]
