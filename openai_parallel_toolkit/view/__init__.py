"""What people look at: the page for a run, the report to keep, and figures for Prometheus."""
