"""Flow matching for video: paths, times, solvers and the networks that predict velocities."""
