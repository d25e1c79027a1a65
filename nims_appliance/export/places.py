"""Places: where tracks were on the map, by where their sonar was and how it was turned at the time of each position."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..archive import FILE_NAME, ArchiveReader, PoseLookup
from ..errors import NimsError
from ..frame import Pose
from ..navigation.fixes import Navigation, locate
from ..recording.container import MAGIC, Reader

if TYPE_CHECKING:
    from ..settings import SonarSettings

PLACE_COLUMNS = "first_latitude_deg", "first_longitude_deg", "last_latitude_deg", "last_longitude_deg"
"""Where a track began and ended; None where that is not known."""


class Places:
    """Puts tracks of an archive on the map. For one thread at a time.

    Args:
      sonars: settings, by name. A sonar with a fixed place was there whenever the archive knows no other.
    """

    def __init__(self, reader: ArchiveReader, sonars: Mapping[str, SonarSettings]) -> None:
        self.missing: Counter[str] = Counter()
        """Tracks without a place, by sonar."""
        self._poses = PoseLookup(reader)
        self._fixed = {
            name: pose
            for name, settings in sonars.items()
            if (pose := Navigation().pose(settings.location, 0.0, 0.0)) is not None
        }

    def pose(self, sonar: str, time_s: float) -> Pose | None:
        """Return where a sonar was at a time of its clock.

        Raises:
          ArchiveError: the archive cannot be read.
        """
        pose = self._poses(sonar, time_s)
        return pose if pose is not None and not math.isnan(pose.latitude_deg) else self._fixed.get(sonar, pose)

    def put(self, track: dict[str, Any], *, whole: bool) -> dict[str, Any]:
        """Return a track, which has `positions`, with PLACE_COLUMNS.

        Args:
          whole: with `places` too: (latitude, longitude) in degrees or None, for each position.
        """
        positions, sonar = track["positions"], track["sonar"]
        wanted = positions if whole else [*positions[:1], *positions[-1:]]
        places = [locate(self.pose(sonar, time_s), *position) for time_s, *position in wanted]
        first, last = (places[0], places[-1]) if places else (None, None)
        if first is None and last is None:
            self.missing[sonar] += 1
        values = (*(first or (None, None)), *(last or (None, None)))
        return track | dict(zip(PLACE_COLUMNS, values, strict=True)) | ({"places": places} if whole else {})


def placed(
    pages: Iterable[list[dict[str, Any]]], places: Places, *, whole: bool = True
) -> Iterator[list[dict[str, Any]]]:
    """Yield pages of tracks with their places; see `Places.put`."""
    for page in pages:
        yield [places.put(track, whole=whole) for track in page]


def recorded_poses(data: Path, sonar: str = "") -> Callable[[Path, float], Pose | None]:
    """Return what tells where the sonar of a recording was at a time of its clock, by the archive of a data folder.

    Args:
      sonar: its name; empty: as the recording says, or the folder of its recordings.
    """
    if not (data / FILE_NAME).is_file():
        return lambda path, time_s: None
    lookup = PoseLookup(ArchiveReader(data / FILE_NAME))
    names: dict[Path, str] = {}

    def pose_of(path: Path, time_s: float) -> Pose | None:
        if path not in names:
            names[path] = sonar or recorded_sonar(path)
        return lookup(names[path], time_s) if names[path] else None

    return pose_of


def recorded_sonar(path: Path) -> str:
    """Return the name of the sonar that a recording of the appliance is of; empty: it is not known."""
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                file.seek(0)
                return Reader(file, path.name).header.sonar
    except (OSError, NimsError):
        return ""  # whoever reads its pings says so
    folder = path.absolute().parent.name
    return folder if path.name.startswith(f"{folder}_") else ""
