"""Firmware profiles that ship with the appliance, one YAML file per sonar model and firmware family."""
