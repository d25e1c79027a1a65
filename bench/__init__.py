"""Measurements of the appliance: `make bench`. Speed is measured here and never in a test."""
