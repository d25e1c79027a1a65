"""The few kinds of failure that an operator or a vendor meets.

Every text says what was being done, what was expected, what came, where, and what to do where that is known:
``config.yaml:12: sonars.pen.link: expected tcp://, udp:// or file://, got 'tpc://10.0.0.5'``.
"""


class NimsError(Exception):
    """Base of all errors that are somebody's mistake or a broken device, never a defect of the appliance."""


class ConfigError(NimsError):
    """A configuration value is missing, malformed or cannot take effect."""


class ProfileError(NimsError):
    """A firmware profile is missing, malformed or does not fit its driver."""


class LinkError(NimsError):
    """A link cannot be understood, opened or kept open."""


class PluginError(NimsError):
    """A plugin cannot be loaded, or broke its contract."""


class FrameError(NimsError):
    """A ping cannot be turned into a valid Frame."""
