"""Configuration: read, layered, checked, traced to its place, and changed while the appliance runs (`store`)."""
