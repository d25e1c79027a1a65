"""The plugin host: finds plugins, loads each one guarded, and owns what they offer (`host`)."""
