"""Measurement: detections in metres, with covariances turned to where they lie."""

from __future__ import annotations

import numpy as np

UNKNOWN_SD = 0.05
"""Metres or radians: where a detector does not say how sure it is."""


def places(detections: np.ndarray, axes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and covariances of detections in sonar coordinates (see `results.to_xyz`).

    Linearised conversion R = J diag(sr^2, sb^2[, se^2]) J'; its bias is below 1e-3 of the range for standard deviations
    of angle below 2 degrees (Longbin et al. 1998 give the exact moments).

    Args:
      detections: dtype DETECTION.
      axes: 2 (x, y) or 3 (x, y, z).

    Returns: float64, shapes (detections, axes) and (detections, axes, axes), m and m^2.
    """
    r, bearing = detections["range_m"], detections["bearing_rad"]
    x, cosine = np.sin(bearing), np.cos(bearing)
    jacobian = np.zeros((len(detections), axes, axes))
    sd = np.empty((len(detections), axes))
    sd[:, 0], sd[:, 1] = detections["range_sd_m"], detections["bearing_sd_rad"]
    if axes == 2:
        unit = np.stack([x, cosine], axis=1)
        jacobian[:, 0, 1], jacobian[:, 1, 1] = r * cosine, -r * x
    else:
        elevation = np.nan_to_num(detections["elevation_rad"])
        sd[:, 2] = detections["elevation_sd_rad"]
        z = np.sin(elevation)
        y = np.sqrt(np.maximum(1.0 - x * x - z * z, 1e-6))
        unit = np.stack([x, y, z], axis=1)
        jacobian[:, 0, 1], jacobian[:, 1, 1] = r * cosine, -r * x * cosine / y
        jacobian[:, 1, 2], jacobian[:, 2, 2] = -r * z * np.cos(elevation) / y, r * np.cos(elevation)
    jacobian[:, :, 0] = unit
    # columns of the Jacobian: along range, along bearing, along elevation
    scaled = jacobian * np.where(sd > 1e-6, sd, UNKNOWN_SD)[:, None]
    return np.ascontiguousarray(unit * r[:, None]), scaled @ scaled.transpose(0, 2, 1)


def polar(position_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return range, bearing and elevation of positions, shape (..., 2 or 3); the inverse of `places`."""
    x, y = position_m[..., 0], position_m[..., 1]
    z = position_m[..., 2] if position_m.shape[-1] == 3 else np.zeros_like(x)
    range_m = np.sqrt(x * x + y * y + z * z)
    near = np.maximum(range_m, 1e-9)
    behind = y < 0
    bearing = np.where(behind, np.arctan2(x, y), np.arcsin(np.clip(x / near, -1, 1)))
    return range_m, bearing, np.arcsin(np.clip(z / near, -1, 1))
