"""Exports: what was seen, in the formats of others.

`tables` reads tracks and metrics from the archive a page at a time, `places` puts tracks on the map, and `text` and
`table_files` write them (CSV, JSON lines, GeoJSON, Parquet). `pings` decodes recordings; `sv` and `sonar_netcdf`, with
its `beam_group`s, write them as netCDF. What is not in the appliance itself is asked for by `optional`.
"""
