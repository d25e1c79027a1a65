"""The pings of recordings for an export: every channel, checked, and an account of what could not be used."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..decoder import Driver
from ..errors import ConfigError, NimsError
from ..file_decoder import FileDecoder
from ..frame import Frame, Pose
from ..navigation.fixes import Navigation, completed
from ..plugin_host.host import make_decoder_context
from ..profile import Profile
from ..settings import SonarSettings

log = logging.getLogger(__name__)


class Pings:
    """Decodes recordings, one after the other.

    Args:
      settings: of the sonar that made them; its fixed location completes pings that do not tell where they were.
      pose_of: where the sonar of a file was at a time of its clock; counts where neither the ping nor `settings` tell.
      want_samples: ask the driver for complex samples.
      progress: told often how many bytes of all files are done.
    """

    def __init__(
        self,
        profile: Profile,
        driver: Driver,
        settings: SonarSettings,
        *,
        pose_of: Callable[[Path, float], Pose | None] = lambda path, time_s: None,
        want_samples: bool = False,
        progress: Callable[[int], object] = lambda done: None,
    ) -> None:
        context = make_decoder_context(profile, settings, driver, want_samples=want_samples)
        self.profile = profile
        self.settings = settings
        self.sources: list[Path] = []
        """Files that had pings."""
        self.frames_read = 0
        self.left_out: Counter[str] = Counter()
        """Pings that were not used, by reason; whoever uses them adds to it."""
        self.errors: list[str] = []
        """Files that could not be read to their end, or had no ping, in a sentence each."""
        self._driver = driver
        self._decoder = FileDecoder(driver, context, profile.limits.packet_bytes, progress)
        self._fixed = Navigation().pose(settings.location, 0.0, 0.0)
        self._pose_of = pose_of

    def read(self, paths: Sequence[Path]) -> Iterator[Frame]:
        """Yield the pings of all channels, numbered from 1; a file that cannot be read is told in `errors`.

        Raises:
          ConfigError: a file is a recording of what the driver does not decode.
        """
        for path in paths:
            before = self.frames_read
            try:
                yield from self._frames(path)
            except ConfigError:
                raise
            except (NimsError, OSError) as error:
                self.errors.append(f"{path}: {getattr(error, 'strerror', None) or error}")
            else:
                if self.frames_read == before:
                    self.errors.append(f"{path}: no ping of {self._driver.title} in it")
            finally:
                self.errors += self._decoder.breakdowns
                self._decoder.breakdowns.clear()
            if self.frames_read > before:
                self.sources.append(path)
        for reason, count in self._decoder.errors.items():
            self.left_out[f"packet: {reason}"] += count

    def _frames(self, path: Path) -> Iterator[Frame]:
        for frame, arrival in self._decoder.frames(path):
            try:
                frame.check()
            except Exception as error:  # noqa: BLE001 - a vendor's frame may be anything
                log.error("%s: the driver gave a bad ping: %s", path, error)
                self.left_out["the driver got it wrong"] += 1
                continue
            self.frames_read += 1
            pose = self._fixed or self._pose_of(path, frame.time_s)
            yield frame.stamped(path.name, self.frames_read, arrival, completed(frame, pose))
