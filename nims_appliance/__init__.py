"""NIMS appliance: live detection and tracking of animals in the pings of imaging and split-beam sonars."""

__version__ = "0.1.0"
