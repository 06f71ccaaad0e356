"""What people look at and take away: rows of the journal as tables and pages."""
