"""What people look at and take away: the page for a run, the report, exports, figures."""
