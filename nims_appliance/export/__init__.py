"""Exports: what was seen, in the formats of others.

`tables` reads tracks and metrics from the archive a page at a time and `table_files` writes them (CSV, JSON lines,
GeoJSON, Parquet); `pings` decodes recordings, `sonar_netcdf` and `sv` write them as netCDF. What is not in the
appliance itself is asked for by `optional`.
"""
