"""Navigation: where the sonars are, from the vessel's instruments or from the settings."""
