"""Archive: what was seen and what happened, in one SQLite file that outlives every accident.

`schema` says what is in the file and brings older files up to date, `rows` turns the appliance's objects into rows and
back, `poses` chooses which poses are kept and tells those between, `writer` writes in batches, `queries`
reads, `track_pages` and `metrics_history` say how, `downsample` makes few points of many, `retention` removes what is
too old.
"""

from .poses import PoseLookup
from .queries import ArchiveError, ArchiveReader
from .retention import Oldest
from .rows import Event, pack_positions, unpack_positions
from .schema import FILE_NAME, SCHEMA_VERSION
from .track_pages import TrackFilter
from .writer import Archive

__all__ = [
    "FILE_NAME",
    "SCHEMA_VERSION",
    "Archive",
    "ArchiveError",
    "ArchiveReader",
    "Event",
    "Oldest",
    "PoseLookup",
    "TrackFilter",
    "pack_positions",
    "unpack_positions",
]
