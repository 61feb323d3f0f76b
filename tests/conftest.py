"""What all tests share: hypothesis draws the same examples every time, and no test asserts times."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("mmdistill", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mmdistill")
