"""Flow matching for video: paths, times, solvers and the networks that predict velocities."""

from lit_modules.flow.module import LitFlowVideo

__all__ = ["LitFlowVideo"]
